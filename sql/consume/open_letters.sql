-- Keys that could not be applied, and have not been since: those that a backfill does not come by, too. Parameters: plan,
-- move, the parts of its key (letters of an earlier key have others).
SELECT d.key FROM cutover.dead_letter d
 WHERE d.plan = %s AND d.move = %s AND d.state = 'open' AND cardinality(d.key) = %s
 ORDER BY d.id
