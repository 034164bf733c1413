-- Keys that could not be applied, and have not been tried since this run of a backfill began: those that it does not come by.
-- (Its own letters it must not ask for again: one that is discarded meanwhile would be opened anew.) Parameters: plan, move,
-- when the run began, the parts of the move's key. Letters of an earlier key have others; what somebody entered by hand
-- may be no key at all.
SELECT d.key
  FROM cutover.dead_letter d
 WHERE d.plan = %s AND d.move = %s AND d.state = 'open' AND d.last_seen < %s
   AND array_ndims(d.key) = 1 AND cardinality(d.key) = %s AND NOT EXISTS (SELECT FROM unnest(d.key) part WHERE part IS NULL)
 ORDER BY d.id
