INSERT INTO cutover.backfill AS b (plan, move)
SELECT %(plan)s, move FROM unnest(%(moves)s::text[]) AS move
    ON CONFLICT (plan, move) DO UPDATE
   SET cursor = NULL, done = 0, offsets = NULL, started_at = now(), finished_at = NULL
