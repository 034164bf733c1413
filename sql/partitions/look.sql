-- A move as it was marked, and as it is; a halted one waits for heal.
SELECT m.partition_mark, cutover.partition_mark(%(tables)s::oid[])
  FROM cutover.move m
 WHERE m.plan = %(plan)s AND m.move = %(move)s AND m.halted IS NULL
