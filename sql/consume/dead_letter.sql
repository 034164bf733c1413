INSERT INTO cutover.dead_letter AS d (plan, move, key, partition, "offset", sqlstate, message, "column")
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (plan, move, hash_array_extended(key, 0), hash_array_extended(key, 1)) WHERE state = 'open' DO UPDATE
   SET attempts = d.attempts + 1, last_seen = now(), sqlstate = excluded.sqlstate, message = excluded.message,
       "column" = excluded."column", "offset" = excluded."offset"
