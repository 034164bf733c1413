-- Who holds the lock of one move's replay (`consumers.replay`), since when, and from where. Parameters: plan, move.
SELECT a.pid, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since,
       coalesce(nullif(a.client_hostname, ''), host(a.client_addr), 'the server''s own machine') AS client
  FROM (SELECT hashtextextended('cutover.replay.' || %(plan)s || '.' || %(move)s, 0) AS key) k
  JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.classid = ((k.key >> 32) & 4294967295)::oid AND l.objid = (k.key & 4294967295)::oid
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  JOIN pg_stat_activity a ON a.pid = l.pid
