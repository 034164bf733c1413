SELECT p.partition, p."offset", p.applied_offset FROM cutover.position p WHERE p.plan = %s AND p.move = %s AND p.partition = ANY (%s)
