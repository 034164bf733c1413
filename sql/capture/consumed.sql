-- Have the consumers applied everything before an LSN? And a number that grows with all that they apply. Moves that
-- stand still are nobody's turn. Parameters: lsn, plan.
SELECT coalesce(bool_and(p.applied_lsn >= %(lsn)s::pg_lsn), true), coalesce(sum(p."offset"), 0)::bigint
  FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
 WHERE p.plan = %(plan)s AND m.halted IS NULL AND m.state NOT IN ('completed', 'left')
