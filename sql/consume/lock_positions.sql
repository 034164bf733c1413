SELECT p.partition, p."offset", pg_current_snapshot()::text, m.halted,
       EXISTS (SELECT FROM cutover.dead_letter d WHERE d.plan = p.plan AND d.move = p.move AND d.state <> 'resolved'),
       g.digest, p.applied_offset, pg_current_wal_insert_lsn()::text
  FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
  JOIN cutover.plan g ON g.plan = p.plan
 WHERE p.plan = %s AND p.move = %s AND p.partition = ANY (%s)
 ORDER BY p.partition
   FOR UPDATE OF p
