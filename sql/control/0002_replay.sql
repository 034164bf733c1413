-- Replays of the log: what was asked for, and how far each came. An unfinished one goes on where it stopped.
CREATE TABLE cutover.replay (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan        text NOT NULL,
    move        text NOT NULL,
    spec        text NOT NULL,                    -- the stretch and the keys as they were asked for
    partitions  int[] NOT NULL,
    starts      bigint[] NOT NULL,                -- first offset of each partition ...
    ends        bigint[] NOT NULL,                -- ... the offset behind its last one ...
    at          bigint[] NOT NULL,                -- ... and the next one to read
    records     bigint NOT NULL DEFAULT 0,
    keys        bigint NOT NULL DEFAULT 0,        -- converged, counted once a batch
    changed     bigint NOT NULL DEFAULT 0,        -- rows of the target that were not as the mapping says
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);
CREATE INDEX replay_unfinished ON cutover.replay (plan, move) WHERE finished_at IS NULL;
