UPDATE cutover.backfill SET total = done, finished_at = now(), unasked = false, offsets = %s WHERE plan = %s AND move = %s
