-- How far the continuous pass over a move has come.
INSERT INTO cutover.proof (plan, move, pass_started_at, pass_at, pass_keys, pass_total, digest, place)
VALUES (%(plan)s, %(move)s, %(started_at)s, now(), %(keys)s, %(total)s, %(digest)s, %(place)s::jsonb)
    ON CONFLICT (plan, move) DO UPDATE
       SET pass_started_at = excluded.pass_started_at, pass_at = excluded.pass_at, pass_keys = excluded.pass_keys,
           pass_total = excluded.pass_total, digest = excluded.digest, place = excluded.place
