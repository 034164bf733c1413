-- Dead letters, newest first. Parameters: plan, moves (text[] or NULL), states (text[]), id (bigint or NULL), most (int).
SELECT d.id, d.move, d.key, d.partition, d."offset", d.sqlstate, d.message, d."column", d.attempts,
       d.first_seen, d.last_seen, d.state, d.reason
  FROM cutover.dead_letter d
 WHERE d.plan = %(plan)s
   AND (%(moves)s::text[] IS NULL OR d.move = ANY (%(moves)s))
   AND d.state = ANY (%(states)s)
   AND (%(id)s::bigint IS NULL OR d.id = %(id)s)
 ORDER BY d.last_seen DESC, d.id DESC
 LIMIT %(most)s
