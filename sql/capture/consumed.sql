-- Have the consumers applied everything before an LSN? A number that grows with all that they apply. And how much WAL may
-- be written until the slot is in danger, NULL: as much as there is room for. Moves that stand still are nobody's turn.
-- Parameters: lsn, plan, slot.
SELECT coalesce(bool_and(p.applied_lsn >= %(lsn)s::pg_lsn), true), coalesce(sum(p."offset"), 0)::bigint,
       (SELECT s.safe_wal_size FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %(slot)s)
  FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
 WHERE p.plan = %(plan)s AND m.halted IS NULL AND m.state NOT IN ('completed', 'left')
