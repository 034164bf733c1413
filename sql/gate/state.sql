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
                  WHERE position.plan = move.plan AND position.move = move.move), false)
  FROM cutover.move move
  JOIN cutover.plan plan USING (plan)
  LEFT JOIN cutover.backfill backfill ON backfill.plan = move.plan AND backfill.move = move.move
  LEFT JOIN LATERAL (
    SELECT min(position.applied_lsn) AS applied_lsn,
           greatest(0, extract(epoch FROM clock_timestamp() - min(position.applied_time))::float8 * 1000) AS lag_ms
      FROM cutover.position position
     WHERE position.plan = move.plan AND position.move = move.move
  ) positions ON true
 WHERE move.plan = %(plan)s AND move.move = %(move)s
