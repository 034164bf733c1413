-- Keys that could not be applied because another row had their unique value, and that have not been since.
SELECT d.id, d.key, d.partition
  FROM cutover.dead_letter d
 WHERE d.plan = %s AND d.move = %s AND d.state = 'open' AND d.sqlstate = ANY (%s)
 ORDER BY d.last_seen DESC LIMIT %s
