-- Differences that stand, the longest unseen first: to be looked at again.
SELECT key FROM cutover.difference
 WHERE plan = %(plan)s AND move = %(move)s AND gone_at IS NULL
 ORDER BY last_seen, id LIMIT %(most)s
