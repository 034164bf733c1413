-- Every key again, from the first; of a move that was never backfilled its first backfill will do.
WITH begun AS (
    UPDATE cutover.backfill SET cursor = NULL, done = 0, offsets = NULL, started_at = now(), finished_at = NULL, unasked = true
     WHERE plan = %(plan)s AND move = %(move)s RETURNING plan, move)
INSERT INTO cutover.event (plan, move, what, detail)
SELECT plan, move, 'partitions-changed', %(detail)s FROM begun
