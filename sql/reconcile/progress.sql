-- How far a move is applied, and what else still has to reach its target. One row.
SELECT min(p.applied_lsn) AS applied_lsn,
       count(p.partition) AS positions,
       m.partitions,
       m.halted,
       l.gap,
       m.refreshed_until,
       -- Touches of the refresh and of the backfill are in the log but not in the WAL: the applied LSN says nothing of them.
       coalesce(bool_and(p."offset" >= m.refreshed_offsets[p.partition + 1]), true) AS refresh_applied,
       CASE WHEN b.plan IS NULL AND m.touch_again IS NULL THEN 'the move has not been backfilled'
            WHEN b.plan IS NULL THEN 'the move has to be backfilled again'
       END AS awaited,
       CASE WHEN b.plan IS NULL THEN NULL
            WHEN b.finished_at IS NULL THEN 'the backfill is still running'
            WHEN NOT bool_and(p."offset" >= b.offsets[p.partition + 1]) THEN 'the backfill is still being applied'
       END AS filling,
       cutover.captured(m.plan) AS capturing,
       md5(string_agg(concat_ws(' ', p.partition, p."offset", p.applied_lsn), ',' ORDER BY p.partition)) AS mark
  FROM cutover.move m
  JOIN cutover.plan l ON l.plan = m.plan
  LEFT JOIN cutover.position p ON p.plan = m.plan AND p.move = m.move
  LEFT JOIN cutover.backfill b ON b.plan = m.plan AND b.move = m.move
 WHERE m.plan = %(plan)s AND m.move = %(move)s
 GROUP BY m.plan, m.move, l.plan, b.plan, b.move
