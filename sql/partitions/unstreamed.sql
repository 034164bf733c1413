-- What hangs below these tables and never comes in the stream, and why.
WITH RECURSIVE below AS (
    SELECT DISTINCT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = ANY (%(tables)s::oid[])
    UNION ALL
    SELECT i.inhrelid FROM below JOIN pg_catalog.pg_inherits i ON i.inhparent = below.inhrelid)
SELECT n.nspname, c.relname,
       CASE WHEN NOT c.relispartition THEN 'is a child by inheritance: its changes come under its own name'
            WHEN c.relkind = 'f' THEN 'is a foreign table: its changes are not in this database''s WAL'
            ELSE 'is unlogged: its changes are not in the WAL' END,
       CASE WHEN NOT c.relispartition THEN 'NO INHERIT' WHEN c.relkind = 'f' THEN 'DETACH PARTITION' ELSE 'SET LOGGED' END
  FROM below
  JOIN pg_catalog.pg_class c ON c.oid = below.inhrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT c.relispartition OR c.relkind = 'f' OR (c.relkind = 'r' AND c.relpersistence <> 'p')
 ORDER BY 1, 2
