-- Relations by schema and name, each with its columns, unique indexes and partitions as JSON.
SELECT n.nspname, c.relname, c.oid::int8, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       c.relispartition, c.relrowsecurity, c.reltuples::float8,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'r') AS inherited,
       c.relnamespace = pg_catalog.pg_my_temp_schema() AS temporary,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
                    'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'type_oid', a.atttypid::int8, 'typmod', a.atttypmod, 'collation', a.attcollation::int8,
                    'not_null', a.attnotnull, 'generated', a.attgenerated <> '',
                    'virtual', a.attgenerated = 'v', 'always', a.attidentity = 'a', 'has_default', a.atthasdef OR a.attidentity <> '',
                    'number', a.attnum) ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
                    'name', ic.relname, 'primary', i.indisprimary, 'identity', i.indisreplident,
                    'immediate', i.indimmediate, 'partial', i.indpred IS NOT NULL,
                    'plain', i.indexprs IS NULL,
                    'columns', (SELECT coalesce(jsonb_agg(a.attname ORDER BY k.at), '[]')
                                  FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, at)
                                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                                 WHERE k.at <= i.indnkeyatts)) ORDER BY NOT i.indisprimary, ic.relname)
                   FROM pg_catalog.pg_index i
                   JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
                  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indislive), '[]') AS indexes,
       coalesce((SELECT jsonb_agg(jsonb_build_array(pn.nspname, pc.relname, pc.relreplident)
                                  ORDER BY pn.nspname, pc.relname)
                   FROM pg_catalog.pg_partition_tree(c.oid) l
                   JOIN pg_catalog.pg_class pc ON pc.oid = l.relid
                   JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
                  WHERE l.isleaf AND l.relid <> c.oid AND c.relkind = 'p'), '[]') AS partitions
  FROM unnest(%(schemas)s::text[], %(relations)s::text[]) wanted (schema, relation)
  JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relation
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
