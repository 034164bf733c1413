-- The plan's row and its slot. Parameters: plan.
SELECT p.log, p.log_identity, p.digest, p.slot, p.gap, p.gap_since,
       s.slot_name IS NOT NULL AS there, coalesce(cutover.captured(p.plan), false) AS active, s.active_pid,
       a.application_name AS holder,
       s.confirmed_flush_lsn::text AS confirmed_lsn, s.wal_status, s.safe_wal_size,
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), s.confirmed_flush_lsn)::bigint AS lag_bytes,
       pg_current_wal_flush_lsn()::text AS flush_lsn,
       clock_timestamp() AS now
  FROM cutover.plan p
  LEFT JOIN pg_replication_slots s ON s.slot_name = p.slot AND s.database = current_database()
  LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
 WHERE p.plan = %(plan)s
