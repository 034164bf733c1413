-- The window of a refresh: from the last one to now, and every moment at which converge read the mapping since. What
-- the positions have seen moves to the move's row, where it stays until the touches are in the log. Parameters: plan, move.
WITH seen AS (
    UPDATE cutover.position p SET clock_low = NULL, clock_high = NULL
      FROM (SELECT o.id, o.clock_low, o.clock_high FROM cutover.position o
             WHERE o.plan = %(plan)s AND o.move = %(move)s AND o.clock_low IS NOT NULL
             ORDER BY o.partition FOR UPDATE) old
     WHERE p.id = old.id
    RETURNING old.clock_low, old.clock_high),
bounds AS (SELECT min(seen.clock_low) AS low, max(seen.clock_high) AS high FROM seen)
UPDATE cutover.move m
   SET clock_low = least(m.clock_low, bounds.low), clock_high = greatest(m.clock_high, bounds.high)
  FROM bounds
 WHERE m.plan = %(plan)s AND m.move = %(move)s AND m.halted IS NULL AND m.state <> 'completed'
RETURNING least(coalesce(m.refreshed_until, clock_timestamp() - interval '1 day'), m.clock_low, clock_timestamp()),
          greatest(m.refreshed_until, m.clock_high, clock_timestamp()),
          clock_timestamp()
