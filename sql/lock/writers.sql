-- Who has written and not ended, anywhere on the server: a new slot waits for all of them. Sessions and prepared
-- transactions, the oldest first.
SELECT w.pid, w.gid, w.database, w.state, extract(epoch FROM clock_timestamp() - w.since)::float8
  FROM (SELECT a.pid, NULL::text AS gid, a.datname::text AS database, a.state, a.xact_start AS since
          FROM pg_catalog.pg_stat_activity a
         WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
        UNION ALL
        SELECT NULL, p.gid, p.database::text, 'prepared', p.prepared FROM pg_catalog.pg_prepared_xacts p) w
 ORDER BY w.since NULLS LAST
