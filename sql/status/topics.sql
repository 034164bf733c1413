-- What was recorded of the log, and the positions in it. Parameters: plan.
SELECT p.log_identity, p.log, m.move, m.topic, m.topic_identity, m.partitions,
       coalesce((SELECT jsonb_object_agg(x.partition, jsonb_build_array(x."offset", x.applied_offset))
                   FROM cutover.position x
                  WHERE x.plan = m.plan AND x.move = m.move AND x.partition < m.partitions), '{}') AS positions
  FROM cutover.plan p JOIN cutover.move m USING (plan)
 WHERE p.plan = %(plan)s AND m.state NOT IN ('completed', 'left')
 ORDER BY m.move
