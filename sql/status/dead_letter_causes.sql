-- Dead letters by cause and state, the largest first. Parameters: plan, moves (text[] or NULL), states (text[]).
-- Messages that differ in a value's length only have one cause.
SELECT d.move, d.sqlstate, d."column", d.state,
       regexp_replace(d.message, '\(a value of \d+ characters\)', '(a value)', 'g') AS message,
       count(*) AS keys, min(d.first_seen) AS first_seen, max(d.last_seen) AS last_seen, sum(d.attempts)::bigint AS attempts,
       (array_agg(d.id ORDER BY d.id))[1:3] AS examples,
       (SELECT jsonb_agg(e.key ORDER BY e.id)
          FROM cutover.dead_letter e
         WHERE e.id = ANY ((array_agg(d.id ORDER BY d.id))[1:3])) AS example_keys
  FROM cutover.dead_letter d
 WHERE d.plan = %(plan)s
   AND (%(moves)s::text[] IS NULL OR d.move = ANY (%(moves)s))
   AND d.state = ANY (%(states)s)
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY count(*) DESC, max(d.last_seen) DESC
