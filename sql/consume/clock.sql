-- When this transaction reads the mapping, by the server's clock. Parameters: plan, move, partitions.
UPDATE cutover.position p SET clock_low = least(p.clock_low, now()), clock_high = greatest(p.clock_high, now())
 WHERE p.plan = %s AND p.move = %s AND p.partition = ANY (%s)
