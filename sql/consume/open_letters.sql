-- Keys that could not be applied, and have not been tried since the backfill began: those that it does not come by. (Its
-- own letters it must not ask for again: one that is discarded meanwhile would be opened anew.) Parameters: plan, move, the
-- parts of its key. Letters of an earlier key have others; what somebody entered by hand may be no key at all.
SELECT d.key
  FROM cutover.dead_letter d JOIN cutover.backfill b ON b.plan = d.plan AND b.move = d.move
 WHERE d.plan = %s AND d.move = %s AND d.state = 'open' AND d.last_seen < b.started_at
   AND array_ndims(d.key) = 1 AND cardinality(d.key) = %s AND NOT EXISTS (SELECT FROM unnest(d.key) part WHERE part IS NULL)
 ORDER BY d.id
