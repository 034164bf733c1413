-- The partitions of a plan, and how many workers there are to share them.
SELECT p.move, p.partition, p.id, m.halted IS NOT NULL OR m.state IN ('completed', 'left'),
       (SELECT count(DISTINCT l.pid) FROM pg_catalog.pg_locks l
         WHERE l.locktype = 'advisory' AND l.granted
           AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
           AND l.classid = %s AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid)
  FROM cutover.position p
  JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
 WHERE p.plan = %s
 ORDER BY p.move, p.partition
