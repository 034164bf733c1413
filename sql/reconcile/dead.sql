-- Keys that could not be applied and wait for somebody's decision.
SELECT key, sqlstate FROM cutover.dead_letter WHERE plan = %(plan)s AND move = %(move)s AND state = 'open'
