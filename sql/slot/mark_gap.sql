UPDATE cutover.plan SET gap = %(reason)s, gap_since = now()
 WHERE plan = %(plan)s AND gap IS NULL AND healed = coalesce(%(chapter)s, healed)
