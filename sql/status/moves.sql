-- Each move with its dead letters and its backfill. Parameters: plan.
SELECT m.move, m.target, m.facade, m.topic, m.topic_identity, m.partitions, m.state, m.side, m.percent, m.halted,
       m.halted_lsn::text AS halted_lsn,
       (SELECT count(*) FROM cutover.dead_letter d
         WHERE d.plan = m.plan AND d.move = m.move AND d.state = 'open') AS dead_letters,
       coalesce(b.done, 0) AS done, coalesce(b.total, 0) AS total,
       b.started_at IS NOT NULL AS backfill_started, b.finished_at
  FROM cutover.move m
  LEFT JOIN cutover.backfill b USING (plan, move)
 WHERE m.plan = %(plan)s
 ORDER BY m.move
