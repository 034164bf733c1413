UPDATE cutover.plan SET confirmed_lsn = greatest(confirmed_lsn, %s::pg_lsn) WHERE plan = %s
