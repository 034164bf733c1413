-- Decisions to leave a key as it is, with the digests of both sides that they are about (NULL: no row).
SELECT key, legacy, consolidated FROM cutover.accepted
 WHERE plan = %(plan)s AND move = %(move)s AND decision = 'consolidated'
   AND key IN (SELECT ARRAY(SELECT jsonb_array_elements_text(each)) FROM jsonb_array_elements(%(keys)s::jsonb) each)
