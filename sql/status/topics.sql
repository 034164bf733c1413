-- What was recorded of the log, and the positions in it, in the partitions' order. Parameters: plan.
SELECT p.log_identity, p.log, m.move, m.topic, m.topic_identity,
       array(SELECT x."offset" FROM cutover.position x
              WHERE x.plan = m.plan AND x.move = m.move ORDER BY x.partition) AS offsets,
       m.halted IS NOT NULL AS halted
  FROM cutover.plan p JOIN cutover.move m USING (plan)
 WHERE p.plan = %(plan)s
 ORDER BY m.move
