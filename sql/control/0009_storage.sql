-- The files that the compared tables were in when a run began (cutover.storage); NULL: a run of an older version.
ALTER TABLE cutover.reconcile_run ADD COLUMN storage jsonb;

-- Keys that the latest run over all found to drift, or could not prove, beyond those that cutover.difference has of it.
ALTER TABLE cutover.proof ADD COLUMN unlisted_drift bigint NOT NULL DEFAULT 0,
                          ADD COLUMN unlisted_unproven bigint NOT NULL DEFAULT 0;

-- Why every key has to be touched again, where a backfill has been before; it counts while there is no row in cutover.backfill.
ALTER TABLE cutover.move ADD COLUMN touch_again text;

-- By table: its oid and file, and those of its partitions and children. TRUNCATE gives a table a new file, DROP and
-- CREATE a new oid, ATTACH one more of them, or the same anew (its row in pg_inherits); VACUUM FULL, CLUSTER and a rewriting ALTER TABLE a new file too, which is harmless. No
-- right on the tables is needed.
CREATE FUNCTION cutover.storage(tables text[]) RETURNS jsonb
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
