-- Columns of a table that are unique or excluded somehow and may be NULL: emptied, they stand in no other row's way. Not
-- those that a foreign key of another table refers to, which would be emptied with them. Parameter: the table.
SELECT a.attname::text
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnotnull
   AND EXISTS (SELECT FROM pg_catalog.pg_index i
                WHERE i.indrelid = a.attrelid AND (i.indisunique OR i.indisexclusion)
                  AND (a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                       OR EXISTS (SELECT FROM pg_catalog.pg_depend d  -- of an expression or a condition
                                   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                                     AND d.refclassid = 'pg_catalog.pg_class'::regclass
                                     AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
                    WHERE c.contype = 'f' AND c.confrelid = a.attrelid AND a.attnum = ANY (c.confkey))
