UPDATE cutover.move SET refreshed_until = %s, refreshed_offsets = %s WHERE plan = %s AND move = %s
