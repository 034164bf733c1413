-- Types with what they stand for once domains are taken off.
WITH RECURSIVE unwrapped AS (
    SELECT t.oid AS wanted, t.oid, t.typtype, t.typbasetype, t.typtypmod, -1 AS typmod
      FROM pg_catalog.pg_type t WHERE t.oid = ANY (%(oids)s::oid[])
    UNION ALL
    SELECT u.wanted, t.oid, t.typtype, t.typbasetype, t.typtypmod,
           CASE WHEN u.typtypmod >= 0 THEN u.typtypmod ELSE u.typmod END
      FROM unwrapped u JOIN pg_catalog.pg_type t ON t.oid = u.typbasetype
     WHERE u.typtype = 'd')
SELECT wanted::int8, oid::int8, typtype::text, typmod FROM unwrapped WHERE typtype <> 'd'
