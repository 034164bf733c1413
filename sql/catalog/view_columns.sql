SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid::int8, a.atttypmod, a.attcollation::int8
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = %(view)s::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
