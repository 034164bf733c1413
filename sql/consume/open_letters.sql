SELECT d.id, d.key FROM cutover.dead_letter d WHERE d.plan = %s AND d.move = %s AND d.state = 'open'
