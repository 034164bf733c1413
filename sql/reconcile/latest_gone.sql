-- Differences that are gone, the latest first, with their number.
SELECT key, kind, verdict, first_seen, last_seen, gone_at, count(*) OVER ()
  FROM cutover.difference
 WHERE plan = %(plan)s AND move = %(move)s AND gone_at IS NOT NULL
 ORDER BY gone_at DESC, id DESC LIMIT %(most)s
