SELECT count(DISTINCT l.pid) FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND l.classid = %s AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid
