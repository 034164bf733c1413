-- Control schema, version 1. Every change of it is a new file beside this one.
CREATE TABLE cutover.plan (
    plan              text PRIMARY KEY,
    digest            text NOT NULL,
    log               text NOT NULL,              -- address of the log, without secrets
    log_identity      text,                       -- which log it is: a cluster id, a file's uuid
    slot              text NOT NULL,
    system_id         text,                       -- the server that the slot was made on
    consistent_point  pg_lsn,                     -- where the slot started
    confirmed_lsn     pg_lsn,                     -- never behind what the slot has been told (C2)
    gap               text,                       -- why changes may be missing; NULL: none
    gap_since         timestamptz,
    prepared_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cutover.move (
    plan          text NOT NULL REFERENCES cutover.plan ON DELETE CASCADE,
    move          text NOT NULL,
    target        text NOT NULL,
    facade        text,
    topic         text NOT NULL,
    topic_identity text,
    partitions    int  NOT NULL CHECK (partitions > 0),
    state         text NOT NULL DEFAULT 'prepared', -- prepared, streaming, mirrored, taken-over, completed
    side          text NOT NULL DEFAULT 'legacy' CHECK (side IN ('legacy', 'consolidated')),
    percent       int  NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    halted        text,                           -- why the move stands still; NULL: it does not
    halted_lsn    pg_lsn,                         -- of the newest cause
    healed_lsn    pg_lsn,                         -- causes up to here have been accepted
    refreshed_until timestamptz,                  -- keys due before this have been touched ...
    refreshed_offsets bigint[],                   -- ... up to these end offsets
    PRIMARY KEY (plan, move)
);

-- Position and data move together (DESIGN section 2): the row is locked, compared and advanced by converge.
CREATE TABLE cutover.position (
    id           int GENERATED ALWAYS AS IDENTITY UNIQUE,  -- objid of the lease's advisory lock
    plan         text NOT NULL,
    move         text NOT NULL,
    partition    int  NOT NULL,
    "offset"     bigint NOT NULL DEFAULT 0,       -- the next log offset to apply
    applied_lsn  pg_lsn NOT NULL DEFAULT '0/0',   -- every commit up to here is in the target
    applied_time timestamptz,                     -- commit time of the newest applied change or watermark
    latency_ms   float8,                          -- commit -> applied, of the newest batch with changes
    worker       text,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plan, move, partition),
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
) WITH (fillfactor = 50);

CREATE TABLE cutover.dead_letter (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan       text NOT NULL,
    move       text NOT NULL,
    key        text[] NOT NULL,
    partition  int NOT NULL,
    "offset"   bigint NOT NULL,
    sqlstate   text NOT NULL,
    message    text NOT NULL,                     -- never the value (A11)
    "column"   text,
    attempts   int NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'discarded')),
    reason     text,
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);
CREATE UNIQUE INDEX dead_letter_open ON cutover.dead_letter (plan, move, key) WHERE state = 'open';

CREATE TABLE cutover.backfill (
    plan        text NOT NULL,
    move        text NOT NULL,
    cursor      text[],                           -- last key touched; NULL: from the start
    done        bigint NOT NULL DEFAULT 0,        -- keys touched
    total       bigint NOT NULL DEFAULT 0,        -- keys expected, an estimate until finished
    offsets     bigint[],                         -- end offsets after the last touch, by partition
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,                      -- every key has been appended
    PRIMARY KEY (plan, move),
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);

CREATE TABLE cutover.reconcile_run (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan         text NOT NULL,
    move         text NOT NULL,
    digest       text NOT NULL,
    verdict      text NOT NULL CHECK (verdict IN ('match', 'lag', 'drift', 'unresolved')),
    snapshot_lsn pg_lsn,
    applied_lsn  pg_lsn,
    exact        boolean NOT NULL DEFAULT true,   -- false: a sample or a part
    document     jsonb NOT NULL,                  -- as `reconcile --json` prints it
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);
CREATE INDEX reconcile_run_latest ON cutover.reconcile_run (plan, move, finished_at DESC);

CREATE TABLE cutover.event (                      -- what was done to a move, by whom
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    plan  text NOT NULL,
    move  text,
    what  text NOT NULL,
    who   text NOT NULL DEFAULT session_user,
    detail jsonb NOT NULL DEFAULT '{}'
);

-- Does this session read the consolidated side? Called as an uncorrelated scalar subquery by the canary facade only.
-- Override for one session: SET cutover.side = 'consolidated' (or 'legacy').
CREATE FUNCTION cutover.reads_consolidated(plan text, move text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    SET search_path = pg_catalog
AS $$
    SELECT CASE nullif(current_setting('cutover.side', true), '')
           WHEN 'consolidated' THEN true
           WHEN 'legacy' THEN false
           ELSE (SELECT mod(abs(hashint4(pg_backend_pid())::bigint), 100) < m.percent
                   FROM cutover.move m WHERE m.plan = $1 AND m.move = $2)
           END
$$;

-- The LSN up to which a move is applied: the minimum over its partitions (R2).
CREATE FUNCTION cutover.applied_lsn(plan text, move text DEFAULT NULL) RETURNS pg_lsn
    LANGUAGE sql VOLATILE SET search_path = pg_catalog
AS $$
    SELECT min(p.applied_lsn) FROM cutover.position p WHERE p.plan = $1 AND ($2 IS NULL OR p.move = $2)
$$;

-- Read your own write while the stream alone feeds the target (S10): call with pg_current_wal_insert_lsn() after COMMIT.
CREATE FUNCTION cutover.wait_for(lsn pg_lsn, plan text DEFAULT NULL, move text DEFAULT NULL,
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
        SELECT min(p.applied_lsn) INTO reached FROM cutover.position p
         WHERE (wait_for.plan IS NULL OR p.plan = wait_for.plan) AND (wait_for.move IS NULL OR p.move = wait_for.move);
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
