-- Each partition's position. Parameters: plan, flush_lsn.
SELECT p.move, p.partition, p."offset", p.applied_lsn::text AS applied_lsn, p.applied_time, p.latency_ms,
       p.worker, p.updated_at,
       greatest(pg_wal_lsn_diff(%(flush_lsn)s::pg_lsn, p.applied_lsn), 0)::bigint AS lag_bytes
  FROM cutover.position p
 WHERE p.plan = %(plan)s
 ORDER BY p.move, p.partition
