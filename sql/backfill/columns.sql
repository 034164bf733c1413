-- The columns of a source as the replication stream describes them; `key`: part of the replica identity.
SELECT a.attname::text, a.atttypid::int8, a.atttypmod,
       CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
            ELSE EXISTS (SELECT FROM pg_catalog.pg_index i
                          WHERE i.indrelid = c.oid AND i.indisvalid
                            AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
                            AND a.attnum = ANY (i.indkey)) END AS key
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
 WHERE c.oid = %(oid)s AND a.attname = ANY (%(columns)s::text[])
 ORDER BY a.attnum
