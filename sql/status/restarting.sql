-- The moves of a plan that was prepared anew within ten seconds: was capture at work until then, and were the consumers? Both
-- look for a new plan every two seconds. Until then capture goes on with the old one, consumers apply nothing more; with the
-- new one both go on. A killed prepare may have held capture up before. Parameter: plan.
SELECT p.move,
       coalesce(max(max(p.applied_time)) OVER () BETWEEN l.prepared_at - interval '30 s' AND l.prepared_at + interval '3 s',
                false) AS capture,
       coalesce(max(p.updated_at) FILTER (WHERE p.applied_time IS NOT NULL)  -- else it is the position's making
                    BETWEEN l.prepared_at - interval '30 s' AND l.prepared_at + interval '1 s', false) AS consumers
  FROM cutover.plan l
  JOIN cutover.position p USING (plan)
 WHERE l.plan = %(plan)s AND clock_timestamp() < l.prepared_at + interval '10 s'
   AND EXISTS (SELECT FROM cutover.event e WHERE e.plan = l.plan AND e.what = 'prepare' AND e.at < l.prepared_at)
 GROUP BY p.move, l.prepared_at
