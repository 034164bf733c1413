-- The replica identity of each of these tables and of every partition below it, the table itself first.
WITH RECURSIVE family AS (
    SELECT to_regclass(name)::oid AS root, to_regclass(name)::oid AS oid, 0 AS depth
      FROM unnest(%(tables)s::text[]) AS name
     WHERE to_regclass(name) IS NOT NULL
    UNION ALL
    SELECT family.root, child.inhrelid, family.depth + 1
      FROM family
      JOIN pg_catalog.pg_inherits child ON child.inhparent = family.oid
      JOIN pg_catalog.pg_class part ON part.oid = child.inhrelid AND part.relispartition
)
SELECT root_schema.nspname,
       root.relname,
       schema.nspname,
       class.relname,
       class.relkind = 'p' OR class.relispartition,
       class.relreplident::text,
       columns.identity,
       columns.primary_key,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = class.oid AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = class.oid AND a.attnum > 0 AND a.attgenerated = '' AND NOT a.attisdropped
              ORDER BY a.attnum),
       EXISTS (SELECT FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = class.oid AND a.attnum > 0 AND a.attgenerated = 'v' AND NOT a.attisdropped)
  FROM family
  JOIN pg_catalog.pg_class class ON class.oid = family.oid
  JOIN pg_catalog.pg_namespace schema ON schema.oid = class.relnamespace
  JOIN pg_catalog.pg_class root ON root.oid = family.root
  JOIN pg_catalog.pg_namespace root_schema ON root_schema.oid = root.relnamespace
 CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.attname::text ORDER BY k.at)
                    FILTER (WHERE CASE class.relreplident WHEN 'd' THEN i.indisprimary
                                                          WHEN 'i' THEN i.indisreplident AND i.indisvalid END), '{}')
               AS identity,
           coalesce(array_agg(a.attname::text ORDER BY k.at) FILTER (WHERE i.indisprimary), '{}') AS primary_key
      FROM pg_catalog.pg_index i
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, at)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indrelid = class.oid AND k.at <= i.indnkeyatts AND i.indisvalid AND i.indimmediate
 ) columns
 ORDER BY root.oid, family.depth, class.oid
