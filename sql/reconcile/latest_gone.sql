-- Differences that became equal, the latest first, with their number, and how many a run that began then saw equal first.
SELECT key, kind, verdict, first_seen, last_seen, gone_at, count(*) OVER (), count(*) FILTER (WHERE gone_at >= %(at)s) OVER ()
  FROM cutover.difference
 WHERE plan = %(plan)s AND move = %(move)s AND gone_at IS NOT NULL AND NOT accepted
 ORDER BY gone_at DESC, id DESC LIMIT %(most)s
