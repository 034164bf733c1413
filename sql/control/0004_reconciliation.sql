-- Keys that runs of `reconcile` found to differ: since when, until when, and when a run saw them equal again.
CREATE TABLE cutover.difference (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan       text NOT NULL,
    move       text NOT NULL,
    key        text[] NOT NULL,
    kind       text NOT NULL,                     -- missing, extra, differs, duplicate, failed; as last seen
    verdict    text NOT NULL,                     -- lag, drift, unresolved; as last seen
    first_seen timestamptz NOT NULL,              -- starts of the runs that saw it
    last_seen  timestamptz NOT NULL,
    gone_at    timestamptz,                       -- start of the first run that saw the key equal; NULL: it stands
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);
CREATE UNIQUE INDEX difference_standing ON cutover.difference (plan, move, key) WHERE gone_at IS NULL;
CREATE INDEX difference_gone ON cutover.difference (plan, move, gone_at) WHERE gone_at IS NOT NULL;

-- Where the proof of each move stands: the latest run over all of it, and how far the pass that is under way has come.
CREATE TABLE cutover.proof (
    plan            text NOT NULL,
    move            text NOT NULL,
    verdict         text,                         -- of the latest run over every key in every column; NULL: none yet
    started_at      timestamptz,
    finished_at     timestamptz,
    compared        bigint,                       -- keys
    pass_started_at timestamptz,                  -- of the continuous pass; NULL: none is under way
    pass_at         timestamptz,                  -- when it kept its place last
    pass_keys       bigint,                       -- keys compared so far ...
    pass_total      bigint,                       -- ... of about so many
    digest          text,                         -- of the plan that the place is of
    place           jsonb,                        -- all that another process needs to go on with the pass
    PRIMARY KEY (plan, move),
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);
INSERT INTO cutover.proof (plan, move, verdict, started_at, finished_at, compared)
SELECT DISTINCT ON (plan, move) plan, move, verdict, started_at, finished_at, (document #>> '{rows,compared}')::bigint
  FROM cutover.reconcile_run WHERE exact ORDER BY plan, move, finished_at DESC, id DESC;

-- Disagreements with rows of others, listed for somebody's decision. The nonce is in no file: what a reviewer saw is
-- recognised by a digest that tells nobody else anything.
CREATE TABLE cutover.review (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan   text NOT NULL,
    move   text NOT NULL,
    nonce  text NOT NULL,
    keys   bigint NOT NULL,
    who    text NOT NULL DEFAULT session_user,
    at     timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);

-- What was decided, and of which values: a decision for "consolidated" holds while both sides are still these.
CREATE TABLE cutover.accepted (
    plan         text NOT NULL,
    move         text NOT NULL,
    key          text[] NOT NULL,
    decision     text NOT NULL CHECK (decision IN ('legacy', 'consolidated')),
    legacy       bytea NOT NULL,                  -- digests of both sides' values
    consolidated bytea NOT NULL,
    review       bigint NOT NULL REFERENCES cutover.review ON DELETE CASCADE,
    who          text NOT NULL DEFAULT session_user,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plan, move, key),
    FOREIGN KEY (plan, move) REFERENCES cutover.move ON DELETE CASCADE
);

-- What the latest run of each move listed, with the first run since the last match that did.
INSERT INTO cutover.difference (plan, move, key, kind, verdict, first_seen, last_seen)
SELECT latest.plan, latest.move, found.key, found.difference ->> 'kind', found.difference ->> 'verdict',
       (SELECT min(run.started_at)
          FROM cutover.reconcile_run run
         WHERE run.plan = latest.plan AND run.move = latest.move
           AND run.document -> 'differences' @> jsonb_build_array(jsonb_build_object('key', found.difference -> 'key'))
           AND run.started_at > coalesce((SELECT max(clean.started_at) FROM cutover.reconcile_run clean
                                           WHERE clean.plan = run.plan AND clean.move = run.move
                                             AND clean.verdict = 'match' AND clean.exact), '-infinity')),
       latest.started_at
  FROM (SELECT DISTINCT ON (plan, move) * FROM cutover.reconcile_run WHERE exact
         ORDER BY plan, move, finished_at DESC, id DESC) latest
 CROSS JOIN LATERAL (SELECT DISTINCT ON (1) ARRAY(SELECT jsonb_array_elements_text(each -> 'key')) AS key, each AS difference
                       FROM jsonb_array_elements(latest.document -> 'differences') each) found
 WHERE latest.verdict <> 'match';
