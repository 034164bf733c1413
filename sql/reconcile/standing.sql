-- Since when the differences stand that nobody has seen to be gone.
SELECT key, first_seen, last_seen FROM cutover.difference
 WHERE plan = %(plan)s AND move = %(move)s AND gone_at IS NULL
   AND key IN (SELECT ARRAY(SELECT jsonb_array_elements_text(each)) FROM jsonb_array_elements(%(keys)s::jsonb) each)
