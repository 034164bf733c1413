-- Each move with its dead letters and its backfill. Parameters: plan.
SELECT m.move, m.target, m.facade,
       m.facade IS NULL OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                    WHERE ARRAY[n.nspname, c.relname]::text[] = parse_ident(m.facade)) AS facade_there,
       m.topic, m.topic_identity, m.partitions, m.state, m.side, m.percent, m.halted,
       m.halted_lsn::text AS halted_lsn, m.touch_again,
       (SELECT count(*) FROM cutover.dead_letter d
         WHERE d.plan = m.plan AND d.move = m.move AND d.state = 'open') AS dead_letters,
       coalesce(b.done, 0) AS done, coalesce(b.total, 0) AS total,
       b.started_at IS NOT NULL AS backfill_started, b.finished_at,
       p.verdict, p.started_at AS proof_started_at, p.finished_at AS proof_finished_at, p.compared, coalesce(p.accepted, 0) AS accepted,
       p.pass_started_at, p.pass_at, p.pass_keys, p.pass_total,
       coalesce(p.unlisted_drift, 0) + (SELECT count(*) FROM cutover.difference d
         WHERE d.plan = m.plan AND d.move = m.move AND d.gone_at IS NULL AND d.verdict = 'drift') AS drift,
       coalesce(p.unlisted_others, 0) + (SELECT count(*) FROM cutover.difference d
         WHERE d.plan = m.plan AND d.move = m.move AND d.gone_at IS NULL AND d.verdict = 'drift' AND d.others) AS others,
       coalesce(p.unlisted_unproven, 0) + (SELECT count(*) FROM cutover.difference d
         WHERE d.plan = m.plan AND d.move = m.move AND d.gone_at IS NULL AND d.verdict <> 'drift') AS unproven
  FROM cutover.move m
  LEFT JOIN cutover.backfill b USING (plan, move)
  LEFT JOIN cutover.proof p USING (plan, move)
 WHERE m.plan = %(plan)s
 ORDER BY m.move
