-- The same, of some keys: each an array's text. A few keys must not pay for the letters of all others.
SELECT d.id, d.key
  FROM unnest(%s::text[]) k JOIN cutover.dead_letter d
    ON hash_array_extended(d.key, 0) = hash_array_extended(k::text[], 0) AND d.key = k::text[]
 WHERE d.plan = %s AND d.move = %s AND d.state <> 'resolved'
