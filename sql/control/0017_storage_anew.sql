-- 0009 was edited after it had been applied somewhere: those installations kept the function as it was first, which did not
-- tell a partition that was detached and attached again.
CREATE OR REPLACE FUNCTION cutover.storage(tables text[]) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog
AS $$
    WITH RECURSIVE part AS (
        SELECT name, to_regclass(name)::oid AS oid, '' AS hung FROM unnest($1) name
         UNION
        SELECT part.name, child.inhrelid, child.xmin::text FROM part JOIN pg_inherits child ON child.inhparent = part.oid
    )
    SELECT coalesce(jsonb_object_agg(name, files), '{}')
      FROM (SELECT name, string_agg(concat_ws(':', oid, pg_relation_filenode(oid), nullif(hung, '')), ' ' ORDER BY oid) AS files
              FROM part GROUP BY name) each
$$;
