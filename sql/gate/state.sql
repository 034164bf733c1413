-- What the gate asks of one move, in one snapshot.
SELECT move.state,
       move.side,
       move.percent,
       move.halted,
       plan.gap,
       plan.digest,
       positions.applied_lsn::text,
       positions.lag_ms,
       greatest(0, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), positions.applied_lsn))::bigint,
       (SELECT count(*) FROM cutover.dead_letter letter
         WHERE letter.plan = move.plan AND letter.move = move.move AND letter.state = 'open'),
       backfill.finished_at IS NOT NULL,
       -- Everything up to the last touch of the backfill has been applied.
       coalesce((SELECT bool_and(position."offset" >= backfill.offsets[position.partition + 1])
                   FROM cutover.position position
                  WHERE position.plan = move.plan AND position.move = move.move), false),
       upset.what,
       upset.at,
       run.verdict,
       run.exact,
       CASE WHEN run.document #>> '{scope,sample,seed}' IS NOT NULL THEN 'a sample'
            WHEN run.document #>> '{scope,keys}' IS NOT NULL OR run.document #>> '{scope,where}' IS NOT NULL THEN 'of some keys'
            ELSE 'of some columns' END,
       run.digest,
       run.started_at,
       extract(epoch FROM clock_timestamp() - run.finished_at)::float8,
       run.snapshot_lsn::text,
       -- Tables that are not as they were when the run began; NULL: the run did not say.
       CASE WHEN run.storage IS NOT NULL THEN
         ARRAY(SELECT name FROM unnest(%(tables)s::text[]) WITH ORDINALITY given (name, at)
                WHERE run.storage -> name IS DISTINCT FROM cutover.storage(ARRAY[name]) -> name ORDER BY at)
       END
  FROM cutover.move move
  JOIN cutover.plan plan USING (plan)
  LEFT JOIN cutover.backfill backfill ON backfill.plan = move.plan AND backfill.move = move.move
  LEFT JOIN LATERAL (
    SELECT min(position.applied_lsn) AS applied_lsn,
           greatest(0, extract(epoch FROM clock_timestamp() - min(position.applied_time))::float8 * 1000) AS lag_ms
      FROM cutover.position position
     WHERE position.plan = move.plan AND position.move = move.move
  ) positions ON true
  LEFT JOIN LATERAL (
    SELECT * FROM cutover.reconcile_run run
     WHERE run.plan = move.plan AND run.move = move.move
     -- A part that is equal proves nothing of the whole, and undoes nothing: it is named only where there is nothing else.
     ORDER BY (run.exact OR run.verdict <> 'match') DESC, run.finished_at DESC, run.id DESC LIMIT 1
  ) run ON true
  LEFT JOIN LATERAL (  -- after any of these, what was proven before proves nothing
    SELECT event.what, event.at FROM cutover.event event
     WHERE event.plan = move.plan AND (event.move = move.move OR event.move IS NULL)
       AND event.what IN ('heal', 'gap', 'halt', 'mapping-changed', 'source-added', 'target-created',
                          'partitions-changed', 'mapping-made-again')
     ORDER BY event.at DESC LIMIT 1
  ) upset ON true
 WHERE move.plan = %(plan)s AND move.move = %(move)s
