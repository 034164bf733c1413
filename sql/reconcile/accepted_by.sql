-- Who has decided to leave these keys as they are, when, and why, where a reason was asked for.
SELECT key, reason, who, at FROM cutover.accepted
 WHERE plan = %(plan)s AND move = %(move)s AND decision = 'consolidated'
   AND key IN (SELECT ARRAY(SELECT jsonb_array_elements_text(each)) FROM jsonb_array_elements(%(keys)s::jsonb) each)
