-- The latest run over all of a move.
INSERT INTO cutover.proof AS known (plan, move, verdict, started_at, finished_at, compared)
VALUES (%(plan)s, %(move)s, %(verdict)s, %(started_at)s, now(), %(compared)s)
    ON CONFLICT (plan, move) DO UPDATE
       SET verdict = excluded.verdict, started_at = excluded.started_at, finished_at = excluded.finished_at,
           compared = excluded.compared
