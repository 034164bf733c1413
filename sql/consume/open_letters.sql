-- Keys that could not be applied, and have not been since: those that a backfill does not come by, too. Parameters: plan,
-- move, the parts of its key. Letters of an earlier key have others; what somebody entered by hand may be no key at all.
SELECT d.key FROM cutover.dead_letter d
 WHERE d.plan = %s AND d.move = %s AND d.state = 'open'
   AND array_ndims(d.key) = 1 AND cardinality(d.key) = %s AND NOT EXISTS (SELECT FROM unnest(d.key) part WHERE part IS NULL)
 ORDER BY d.id
