-- The latest run over all of a move, once its differences stand; what its list had no place for is counted.
WITH standing AS (
    SELECT count(*) FILTER (WHERE verdict = 'drift') AS drift, count(*) FILTER (WHERE verdict <> 'drift') AS unproven,
           count(*) FILTER (WHERE others) AS others
      FROM cutover.difference WHERE plan = %(plan)s AND move = %(move)s AND gone_at IS NULL
)
INSERT INTO cutover.proof AS known (plan, move, verdict, started_at, finished_at, compared, accepted,
                                     unlisted_drift, unlisted_unproven, unlisted_others)
SELECT %(plan)s, %(move)s, %(verdict)s, %(started_at)s, now(), %(compared)s, %(accepted)s,
       greatest(0, %(drift)s - standing.drift), greatest(0, %(unproven)s - standing.unproven),
       least(greatest(0, %(others)s - standing.others), greatest(0, %(drift)s - standing.drift))
  FROM standing
    ON CONFLICT (plan, move) DO UPDATE
       SET verdict = excluded.verdict, started_at = excluded.started_at, finished_at = excluded.finished_at,
           compared = excluded.compared, accepted = excluded.accepted,
           unlisted_drift = excluded.unlisted_drift,
           unlisted_unproven = excluded.unlisted_unproven,
           unlisted_others = excluded.unlisted_others
