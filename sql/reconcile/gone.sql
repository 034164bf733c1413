-- Of the differences that stood: those that a run compared and did not list stand no more. They are equal, or left
-- as they are: somebody has decided so (see accepted.sql), or the plan's rule keeps them (%(left)s). %(keys)s NULL: it
-- compared all.
WITH listed AS (
    SELECT ARRAY(SELECT jsonb_array_elements_text(each -> 'key')) AS key FROM jsonb_array_elements(%(differences)s::jsonb) each
), compared AS (
    SELECT ARRAY(SELECT jsonb_array_elements_text(each)) AS key FROM jsonb_array_elements(%(keys)s::jsonb) each
), forgotten AS (
    DELETE FROM cutover.difference WHERE plan = %(plan)s AND move = %(move)s AND gone_at < %(at)s - interval '90 days'
)
UPDATE cutover.difference known
   SET gone_at = %(at)s,
       accepted = EXISTS (SELECT FROM cutover.accepted a
                            LEFT JOIN cutover.dead_letter letter ON letter.id = a.dead_letter
                           WHERE a.plan = known.plan AND a.move = known.move AND a.key = known.key
                             AND hash_array_extended(a.key, 0) = hash_array_extended(known.key, 0)
                             AND a.decision = 'consolidated' AND a.ended_at IS NULL
                             AND (a.dead_letter IS NULL OR letter.state = 'discarded'))
                  OR known.key IN (SELECT ARRAY(SELECT jsonb_array_elements_text(each))
                                     FROM jsonb_array_elements(%(left)s::jsonb) each)
 WHERE known.plan = %(plan)s AND known.move = %(move)s AND known.gone_at IS NULL
   AND known.last_seen < %(at)s  -- not what another run has seen since this one began
   AND NOT EXISTS (SELECT FROM listed WHERE listed.key = known.key)
   AND (%(keys)s::jsonb IS NULL OR EXISTS (SELECT FROM compared WHERE compared.key = known.key))
