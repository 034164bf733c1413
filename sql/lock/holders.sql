-- Sessions and prepared transactions with a lock in one of these modes on these relations or their partitions.
WITH RECURSIVE relation AS (
    SELECT to_regclass(name)::oid AS oid FROM unnest(%(tables)s::text[]) AS name
    UNION
    SELECT child.inhrelid FROM pg_catalog.pg_inherits child JOIN relation ON child.inhparent = relation.oid
), prepared AS (  -- by the transaction id, which each has locked: its virtual id is its session's until a restart
    SELECT lock.virtualtransaction, prepared.gid, prepared.prepared
      FROM pg_catalog.pg_prepared_xacts prepared
      JOIN pg_catalog.pg_locks lock ON lock.transactionid = prepared.transaction
     WHERE lock.pid IS NULL AND lock.locktype = 'transactionid'
)
SELECT held.pid,
       held.virtualtransaction,
       held.relation::regclass::text,
       held.mode,
       held.granted,
       extract(epoch FROM clock_timestamp() - coalesce(session.xact_start, prepared.prepared))::float8,
       session.state,
       prepared.gid
  FROM pg_catalog.pg_locks held
  JOIN relation ON relation.oid = held.relation
  LEFT JOIN pg_catalog.pg_stat_activity session ON session.pid = held.pid
  LEFT JOIN prepared ON held.pid IS NULL AND prepared.virtualtransaction = held.virtualtransaction
 WHERE held.locktype = 'relation'
   AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND held.pid IS DISTINCT FROM pg_backend_pid()
   AND held.mode = ANY (%(modes)s)
   AND (%(autovacuum)s OR session.backend_type IS DISTINCT FROM 'autovacuum worker')
