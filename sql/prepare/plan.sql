-- The plan's row: made once. The slot's columns are filled when the slot is there.
INSERT INTO cutover.plan (plan, digest, log, log_identity, slot)
VALUES (%(plan)s, %(digest)s, %(log)s, %(log_identity)s, %(slot)s)
    ON CONFLICT (plan) DO UPDATE SET log = excluded.log
