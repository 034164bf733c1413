UPDATE cutover.backfill SET cursor = %s, done = %s, total = %s WHERE plan = %s AND move = %s
