-- A run saw that the key is not what this decision was about. One that was taken since is another one, and stands.
UPDATE cutover.accepted SET ended_at = clock_timestamp()
 WHERE plan = %(plan)s AND move = %(move)s AND key = %(key)s AND at = %(at)s AND ended_at IS NULL
