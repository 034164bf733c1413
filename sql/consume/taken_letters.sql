-- Keys that could not be applied because another row had their unique value, and that have not been since. Parameters: plan,
-- move, the SQLSTATEs, the parts of its key, how many. Letters of an earlier key have other parts; what somebody entered by
-- hand may be no key at all. Those of one batch have one time, and come in the order in which it failed on them.
SELECT d.id, d.key, d.partition
  FROM cutover.dead_letter d
 WHERE d.plan = %s AND d.move = %s AND d.state = 'open' AND d.sqlstate = ANY (%s)
   AND array_ndims(d.key) = 1 AND cardinality(d.key) = %s AND NOT EXISTS (SELECT FROM unnest(d.key) part WHERE part IS NULL)
 ORDER BY d.last_seen DESC, d.id LIMIT %s
