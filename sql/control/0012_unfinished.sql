-- A heal lets a move go on although changes up to here are not in the log: only touches tell of them.
ALTER TABLE cutover.move ADD COLUMN touched_until pg_lsn;
ALTER TABLE cutover.move ADD COLUMN touched_offsets bigint[];  -- by partition, behind the last touch; NULL: not all are there

-- As before, but for what is asked for up to touched_until: that is applied once every touch is.
CREATE OR REPLACE FUNCTION cutover.wait_for(lsn pg_lsn, plan text DEFAULT NULL, move text DEFAULT NULL,
                                 timeout interval DEFAULT '10 seconds') RETURNS pg_lsn
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog
AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + timeout;
    reached  pg_lsn;
    touching boolean;
    asked    boolean := false;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'cutover.wait_for cannot see progress in a % transaction', current_setting('transaction_isolation')
            USING HINT = 'Call it in READ COMMITTED, or before the transaction begins.';
    END IF;
    LOOP
        SELECT min(p.applied_lsn),
               bool_or(m.touched_until IS NOT NULL AND wait_for.lsn <= m.touched_until
                       AND NOT coalesce(p."offset" >= m.touched_offsets[p.partition + 1], false))
          INTO reached, touching
          FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
         WHERE (wait_for.plan IS NULL OR p.plan = wait_for.plan) AND (wait_for.move IS NULL OR p.move = wait_for.move)
           AND (wait_for.move IS NOT NULL OR m.state NOT IN ('completed', 'left'));
        IF reached IS NULL THEN
            RAISE EXCEPTION 'cutover.wait_for: no such plan or move: % %', wait_for.plan, wait_for.move;
        END IF;
        IF reached >= lsn AND NOT touching THEN
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
            IF reached >= lsn THEN
                RAISE EXCEPTION 'cutover.wait_for: every key is being touched after a heal, and % was before it, after %', lsn, timeout
                    USING HINT = 'Is the heal finished, and a consumer running? cutover doctor shows it.';
            END IF;
            RAISE EXCEPTION 'cutover.wait_for: % is applied, % was asked for, after %', reached, lsn, timeout
                USING HINT = 'Is a consumer running? cutover status shows it.';
        END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
END
$$;

-- The publication as a prepare that is at work on it, or was killed there, left it with its last change.
ALTER TABLE cutover.plan ADD COLUMN publication_expected jsonb;
