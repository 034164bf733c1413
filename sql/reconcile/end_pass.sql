-- The continuous pass over a move has ended, or its place is of no use any more.
UPDATE cutover.proof
   SET pass_started_at = NULL, pass_at = NULL, pass_keys = NULL, pass_total = NULL, digest = NULL, place = NULL
 WHERE plan = %(plan)s AND move = %(move)s
