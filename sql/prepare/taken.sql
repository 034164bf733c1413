-- The moves of other plans that write a target: two writers undo each other's rows. Parameters: target, plan.
SELECT m.plan, m.move FROM cutover.move m
 WHERE m.target = %s AND m.plan <> %s AND m.state NOT IN ('left', 'completed')
 ORDER BY 1, 2 LIMIT 1
