-- Keys whose difference stands.
SELECT key FROM cutover.difference WHERE plan = %(plan)s AND move = %(move)s AND gone_at IS NULL
