-- Decisions that stand to leave a key as it is, with the digests of both sides that they are about (NULL: no row). One
-- about a dead letter stands for as long as the key was not applied after all. %(keys)s NULL: of every key.
SELECT a.key, a.legacy, a.consolidated, a.at, a.review IS NOT NULL
  FROM cutover.accepted a
  LEFT JOIN cutover.dead_letter letter ON letter.id = a.dead_letter
 WHERE a.plan = %(plan)s AND a.move = %(move)s AND a.decision = 'consolidated' AND a.ended_at IS NULL
   AND (a.dead_letter IS NULL OR letter.state = 'discarded')
   AND (%(keys)s::jsonb IS NULL
        OR a.key IN (SELECT ARRAY(SELECT jsonb_array_elements_text(each)) FROM jsonb_array_elements(%(keys)s::jsonb) each))
