-- The tables of a publication with their column lists; NULL: all columns.
SELECT schema.nspname,
       class.relname,
       CASE WHEN published.prqual IS NOT NULL THEN ARRAY['with a row filter']  -- never ours: it is published anew
            WHEN published.prattrs IS NOT NULL THEN
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = published.prrelid AND a.attnum = ANY (published.prattrs::int2[])
                  ORDER BY a.attnum)
       END
  FROM pg_catalog.pg_publication_rel published
  JOIN pg_catalog.pg_publication publication ON publication.oid = published.prpubid
  JOIN pg_catalog.pg_class class ON class.oid = published.prrelid
  JOIN pg_catalog.pg_namespace schema ON schema.oid = class.relnamespace
 WHERE publication.pubname = %s
