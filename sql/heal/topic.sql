-- The move's topic is this one from now on; what was refreshed into an older one is no longer known to be there.
UPDATE cutover.move
   SET topic_identity = %(identity)s, refreshed_offsets = NULL
 WHERE plan = %(plan)s AND move = %(move)s
