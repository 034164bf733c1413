-- The publication as prepare left it (sql/publication/mark.sql); NULL while one is at work on it, or was killed there.
ALTER TABLE cutover.plan ADD COLUMN publication_mark jsonb;

-- What the publication is. The row's xmin tells that its options were set and set back, a table's oid that it was taken
-- out and added again.
CREATE FUNCTION cutover.publication_mark(name text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
    SELECT jsonb_build_object(
               'options', concat_ws(' ', p.oid, p.xmin, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot),
               'tables', (SELECT coalesce(jsonb_object_agg(r.prrelid::text, concat_ws(' ', r.oid, r.prqual IS NOT NULL, r.prattrs::text)), '{}')
                            FROM pg_publication_rel r WHERE r.prpubid = p.oid))
      FROM pg_publication p WHERE p.pubname = $1
$$;

-- Is it still so? A table that was dropped left it with that, and halts its move; others may be added.
CREATE FUNCTION cutover.publication_stands(mark jsonb, name text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
    SELECT mark IS NULL OR coalesce(
               (SELECT found -> 'options' = mark -> 'options'
                       AND NOT EXISTS (SELECT FROM jsonb_each(mark -> 'tables') each
                                        WHERE found -> 'tables' -> each.key IS DISTINCT FROM each.value
                                          AND EXISTS (SELECT FROM pg_class c WHERE c.oid = each.key::oid))
                  FROM cutover.publication_mark(name) found), false)
$$;

-- Moves that left the plan are not fed any more: nobody waits for them.
CREATE OR REPLACE FUNCTION cutover.applied_lsn(plan text, move text DEFAULT NULL) RETURNS pg_lsn
    LANGUAGE sql VOLATILE SET search_path = pg_catalog
AS $$
    SELECT min(p.applied_lsn) FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
     WHERE p.plan = $1 AND ($2 IS NULL OR p.move = $2) AND ($2 IS NOT NULL OR m.state NOT IN ('completed', 'left'))
$$;

CREATE OR REPLACE FUNCTION cutover.wait_for(lsn pg_lsn, plan text DEFAULT NULL, move text DEFAULT NULL,
                                 timeout interval DEFAULT '10 seconds') RETURNS pg_lsn
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog
AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + timeout;
    reached  pg_lsn;
    asked    boolean := false;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'cutover.wait_for cannot see progress in a % transaction', current_setting('transaction_isolation')
            USING HINT = 'Call it in READ COMMITTED, or before the transaction begins.';
    END IF;
    LOOP
        SELECT min(p.applied_lsn) INTO reached
          FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
         WHERE (wait_for.plan IS NULL OR p.plan = wait_for.plan) AND (wait_for.move IS NULL OR p.move = wait_for.move)
           AND (wait_for.move IS NOT NULL OR m.state NOT IN ('completed', 'left'));
        IF reached IS NULL THEN
            RAISE EXCEPTION 'cutover.wait_for: no such plan or move: % %', wait_for.plan, wait_for.move;
        END IF;
        IF reached >= lsn THEN
            RETURN reached;
        END IF;
        IF NOT asked THEN  -- capture answers this with a watermark to every partition
            IF current_setting('server_version_num')::int >= 170000 THEN
                EXECUTE $m$SELECT pg_logical_emit_message(false, 'cutover', 'watermark', true)$m$;
            ELSE  -- the WAL writer flushes it within wal_writer_delay, or the next commit does
                PERFORM pg_logical_emit_message(false, 'cutover', 'watermark');
            END IF;
            asked := true;
        END IF;
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'cutover.wait_for: % is applied, % was asked for, after %', reached, lsn, timeout
                USING HINT = 'Is a consumer running? cutover status shows it.';
        END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
END
$$;
