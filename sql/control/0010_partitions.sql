-- What hung below each move's sources when its target was last made equal to them: the stream says nothing of a
-- partition that is attached, detached, dropped or truncated by itself.
ALTER TABLE cutover.move ADD COLUMN partition_mark jsonb;
ALTER TABLE cutover.backfill ADD COLUMN unasked boolean NOT NULL DEFAULT false;  -- consumers began it, and finish it

-- Everything below these tables, by oid. The row's xmin in pg_inherits tells that a partition was taken out and put back,
-- the file that it was truncated (or rewritten, which is told for the same).
CREATE FUNCTION cutover.partition_mark(tables oid[]) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
    WITH RECURSIVE below AS (
        SELECT i.inhrelid, i.xmin FROM pg_inherits i WHERE i.inhparent = ANY ($1)
        UNION ALL
        SELECT i.inhrelid, i.xmin FROM below JOIN pg_inherits i ON i.inhparent = below.inhrelid)
    SELECT coalesce(jsonb_object_agg(c.oid::text, jsonb_build_array(
               below.xmin::text, c.relfilenode::bigint, c.relkind::text, c.relispartition, c.relpersistence::text,
               c.relreplident::text, (SELECT i.indexrelid::bigint FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident))),
               '{}')
      FROM below JOIN pg_class c ON c.oid = below.inhrelid
$$;
