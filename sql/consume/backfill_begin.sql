INSERT INTO cutover.backfill AS b (plan, move, total)
SELECT m.plan, m.move, %(total)s FROM cutover.move m WHERE m.plan = %(plan)s AND m.move = %(move)s
    ON CONFLICT (plan, move) DO UPDATE
   SET cursor = CASE WHEN %(restart)s OR b.finished_at IS NOT NULL THEN NULL ELSE b.cursor END,
       done = CASE WHEN %(restart)s OR b.finished_at IS NOT NULL THEN 0 ELSE b.done END,
       started_at = CASE WHEN %(restart)s OR b.finished_at IS NOT NULL THEN now() ELSE b.started_at END,
       total = CASE WHEN %(restart)s OR b.finished_at IS NOT NULL THEN excluded.total
                    ELSE greatest(excluded.total, b.total) END,
       finished_at = NULL, offsets = NULL
RETURNING done, total, cursor, now()
