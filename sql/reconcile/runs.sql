-- The latest runs over all of a move, oldest first.
SELECT * FROM (
    SELECT run.started_at, run.verdict,
           (run.document #>> '{rows,compared}')::bigint,
           (run.document #>> '{rows,drift}')::bigint + (run.document #>> '{rows,unresolved}')::bigint
             + (run.document #>> '{rows,in_flight}')::bigint,
           (run.document #>> '{rows,lag}')::bigint,
           (run.document ->> 'seconds')::float8,
           run.document ->> 'who'
      FROM cutover.reconcile_run run
     WHERE run.plan = %(plan)s AND run.move = %(move)s AND run.exact
     ORDER BY run.started_at DESC LIMIT %(most)s
) latest
 ORDER BY 1
