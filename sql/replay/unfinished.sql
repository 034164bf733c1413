SELECT r.id, r.partitions, r.ends, r.at
  FROM cutover.replay r
 WHERE r.plan = %s AND r.move = %s AND r.spec = %s AND r.finished_at IS NULL
 ORDER BY r.id DESC LIMIT 1
