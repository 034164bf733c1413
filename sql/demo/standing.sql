-- What of a plan is not yet in the targets, beyond what LSNs tell: touches are in the log but not in the WAL. A row a move.
SELECT m.move,
       coalesce(m.halted, l.gap) AS stopped,
       coalesce(b.finished_at IS NOT NULL AND bool_and(p."offset" >= b.offsets[p.partition + 1]), false) AS backfilled,
       coalesce(m.refreshed_until >= %(until)s AND bool_and(p."offset" >= m.refreshed_offsets[p.partition + 1]),
                false) AS refreshed
  FROM cutover.move m
  JOIN cutover.plan l ON l.plan = m.plan
  JOIN cutover.position p ON p.plan = m.plan AND p.move = m.move
  LEFT JOIN cutover.backfill b ON b.plan = m.plan AND b.move = m.move
 WHERE m.plan = %(plan)s
 GROUP BY m.plan, m.move, l.plan, b.plan, b.move
 ORDER BY m.move
