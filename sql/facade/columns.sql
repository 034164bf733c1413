-- Columns of the target in the order asked for, and how the mapping's columns of the same names differ from them.
SELECT wanted.name,
       format_type(target.atttypid, target.atttypmod),
       (target.atttypid, target.atttypmod) IS DISTINCT FROM (mapped.atttypid, mapped.atttypmod),
       CASE WHEN target.attcollation <> mapped.attcollation THEN schema.nspname END,
       CASE WHEN target.attcollation <> mapped.attcollation THEN sort_order.collname END,
       target.attname IS NOT NULL AND mapped.attname IS NOT NULL
  FROM unnest(%(names)s::text[]) WITH ORDINALITY AS wanted (name, at)
  LEFT JOIN pg_catalog.pg_attribute target
         ON target.attrelid = to_regclass(%(target)s) AND target.attname = wanted.name AND NOT target.attisdropped
  LEFT JOIN pg_catalog.pg_attribute mapped
         ON mapped.attrelid = to_regclass(%(mapping)s) AND mapped.attname = wanted.name AND NOT mapped.attisdropped
  LEFT JOIN pg_catalog.pg_collation sort_order ON sort_order.oid = target.attcollation
  LEFT JOIN pg_catalog.pg_namespace schema ON schema.oid = sort_order.collnamespace
 ORDER BY wanted.at
