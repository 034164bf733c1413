-- From one mark to the next; nothing when somebody else was quicker.
UPDATE cutover.move SET partition_mark = %(now)s
 WHERE plan = %(plan)s AND move = %(move)s AND partition_mark IS NOT DISTINCT FROM %(before)s
RETURNING 1
