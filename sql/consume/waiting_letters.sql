-- Keys that could not be applied, and have not been since: open, or accepted as they are.
SELECT d.id, d.key FROM cutover.dead_letter d WHERE d.plan = %s AND d.move = %s AND d.state <> 'resolved'
