-- Each partition's position, and the worker that holds its lease (classid: `consumers.lease`). Parameters: plan, flush_lsn.
SELECT p.move, p.partition, p."offset", p.applied_lsn::text AS applied_lsn, p.applied_time, p.latency_ms,
       CASE WHEN l.pid IS NOT NULL THEN coalesce(p.worker, 'pid ' || l.pid) END AS worker,
       greatest(pg_wal_lsn_diff(%(flush_lsn)s::pg_lsn, p.applied_lsn), 0)::bigint AS lag_bytes
  FROM cutover.position p
  LEFT JOIN pg_locks l
    ON l.locktype = 'advisory' AND l.granted AND l.classid = 1668641900 AND l.objid = p.id::oid AND l.objsubid = 2
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
 WHERE p.plan = %(plan)s
 ORDER BY p.move, p.partition
