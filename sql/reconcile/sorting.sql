-- The key columns of a relation: name and collation (NULL: the type has none).
SELECT a.attname, CASE WHEN a.attcollation <> 0 THEN (SELECT format('%%I.%%I', n.nspname, c.collname)
                                                       FROM pg_catalog.pg_collation c
                                                       JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                                                      WHERE c.oid = a.attcollation) END
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = to_regclass(%(relation)s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (%(names)s)
