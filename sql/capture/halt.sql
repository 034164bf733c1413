UPDATE cutover.move SET halted = coalesce(halted, %s), halted_lsn = coalesce(halted_lsn, %s::pg_lsn)
 WHERE plan = %s AND move = %s
