-- What the latest reconciliation that counts says of each move, and what has happened since. Parameters: plan, move
-- (NULL: all), tables (text[]; NULL: those that the run recorded).
SELECT move.move,
       run.verdict,
       run.exact,
       run.id AS run,
       run.digest,
       run.started_at,
       extract(epoch FROM clock_timestamp() - run.finished_at)::float8 AS age,
       run.snapshot_lsn::text AS snapshot_lsn,
       -- Tables that are not as they were when the run began; NULL: the run did not say.
       CASE WHEN run.storage IS NOT NULL THEN
         ARRAY(SELECT name FROM unnest(coalesce(%(tables)s::text[], ARRAY(SELECT jsonb_object_keys(run.storage))))
                      WITH ORDINALITY given (name, at)
                WHERE run.storage -> name IS DISTINCT FROM cutover.storage(ARRAY[name]) -> name ORDER BY at)
       END AS moved,
       upset.what AS upset,
       upset.at AS upset_at
  FROM cutover.move move
  JOIN LATERAL (
    SELECT * FROM (SELECT id, plan, move, digest, verdict, exact, snapshot_lsn, started_at, finished_at, storage
                     FROM cutover.reconcile_run) run
     WHERE run.plan = move.plan AND run.move = move.move
     -- A part that is equal proves nothing of the whole, and undoes nothing: it is named only where there is nothing else.
     -- A match is as new as its first look: a long pass that ends after a run that began later does not replace it.
     ORDER BY (run.exact OR run.verdict <> 'match') DESC,
              CASE run.verdict WHEN 'match' THEN run.started_at ELSE run.finished_at END DESC, run.id DESC LIMIT 1
  ) run ON true
  LEFT JOIN LATERAL (  -- after any of these, what was proven before proves nothing
    SELECT event.what, event.at FROM cutover.event event
     WHERE event.plan = move.plan AND (event.move = move.move OR event.move IS NULL)
       AND event.what IN ('heal', 'gap', 'halt', 'mapping-changed', 'source-added', 'target-created',
                          'partitions-changed', 'mapping-made-again', 'discard', 'accept')
     ORDER BY event.at DESC LIMIT 1
  ) upset ON true
 WHERE move.plan = %(plan)s AND (%(move)s::text IS NULL OR move.move = %(move)s)
