UPDATE cutover.backfill SET total = done, finished_at = now(), offsets = %s WHERE plan = %s AND move = %s
