SELECT p.partition, p."offset" FROM cutover.position p WHERE p.plan = %s AND p.move = %s AND p.partition = ANY (%s)
