INSERT INTO cutover.replay (plan, move, spec, partitions, starts, ends, at)
VALUES (%(plan)s, %(move)s, %(spec)s, %(partitions)s, %(starts)s, %(ends)s, %(starts)s)
RETURNING id
