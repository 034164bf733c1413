-- Since when a key has been among the listed differences, counted from the last run that found none.
SELECT ARRAY(SELECT jsonb_array_elements_text(difference -> 'key')), min(run.started_at)
  FROM cutover.reconcile_run run
 CROSS JOIN LATERAL jsonb_array_elements(run.document -> 'differences') difference
 WHERE run.plan = %(plan)s AND run.move = %(move)s
   AND run.started_at > coalesce((SELECT max(clean.started_at) FROM cutover.reconcile_run clean
                                   WHERE clean.plan = run.plan AND clean.move = run.move
                                     AND clean.verdict = 'match' AND clean.exact), '-infinity')
 GROUP BY 1
