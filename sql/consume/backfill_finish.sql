-- Where the last touches stand: a heal's are what cutover.wait_for waits for.
WITH finished AS (
    UPDATE cutover.backfill SET total = done, finished_at = now(), unasked = false, offsets = %s
     WHERE plan = %s AND move = %s RETURNING plan, move, offsets)
UPDATE cutover.move m SET touched_offsets = finished.offsets
  FROM finished
 WHERE m.plan = finished.plan AND m.move = finished.move AND m.touched_until IS NOT NULL AND m.touched_offsets IS NULL
