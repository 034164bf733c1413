-- A relation by schema and name: is it an index of this table, can it be a replica identity, which are its columns.
SELECT coalesce(index.indrelid = to_regclass(%(table)s), false),
       coalesce(index.indisvalid AND index.indisready AND index.indisunique AND index.indimmediate
                AND index.indpred IS NULL AND index.indexprs IS NULL, false),
       ARRAY(SELECT a.attname::text
               FROM unnest(index.indkey::int2[]) WITH ORDINALITY AS k (attnum, at)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = index.indrelid AND a.attnum = k.attnum
              ORDER BY k.at)
  FROM pg_catalog.pg_class class
  JOIN pg_catalog.pg_namespace schema ON schema.oid = class.relnamespace
  LEFT JOIN pg_catalog.pg_index index ON index.indexrelid = class.oid
 WHERE schema.nspname = %(schema)s AND class.relname = %(index)s
