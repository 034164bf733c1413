-- The differences that a run listed stand: seen for the first time, or once more. %(awaited)s: the backfill has yet to begin;
-- what lags is no difference then, unless it was one before.
INSERT INTO cutover.difference AS known (plan, move, key, kind, verdict, others, first_seen, last_seen)
SELECT %(plan)s, %(move)s, ARRAY(SELECT jsonb_array_elements_text(each -> 'key')), each ->> 'kind', each ->> 'verdict',
       (each -> 'others')::boolean, %(at)s, %(at)s
  FROM jsonb_array_elements(%(differences)s::jsonb) each
 WHERE NOT %(awaited)s OR each ->> 'verdict' <> 'lag'
    OR EXISTS (SELECT FROM cutover.difference known
                WHERE known.plan = %(plan)s AND known.move = %(move)s AND known.gone_at IS NULL
                  AND hash_array_extended(known.key, 0)
                      = hash_array_extended(ARRAY(SELECT jsonb_array_elements_text(each -> 'key')), 0)
                  AND known.key = ARRAY(SELECT jsonb_array_elements_text(each -> 'key')))
    ON CONFLICT (plan, move, hash_array_extended(key, 0), hash_array_extended(key, 1))
          WHERE gone_at IS NULL
    DO UPDATE SET kind = excluded.kind, verdict = excluded.verdict, others = excluded.others,
                  last_seen = greatest(known.last_seen, excluded.last_seen)
