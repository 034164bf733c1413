UPDATE cutover.move SET refreshed_until = %s, refreshed_offsets = %s, clock_low = NULL, clock_high = NULL
 WHERE plan = %s AND move = %s
