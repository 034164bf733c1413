-- What was decided about one key, in the place of an earlier decision.
INSERT INTO cutover.accepted AS known (plan, move, key, decision, legacy, consolidated, review, dead_letter, reason)
VALUES (%(plan)s, %(move)s, %(key)s, %(decision)s, %(legacy)s, %(consolidated)s, %(review)s, %(dead_letter)s, %(reason)s)
    ON CONFLICT (plan, move, hash_array_extended(key, 0), hash_array_extended(key, 1)) DO UPDATE
       SET decision = excluded.decision, legacy = excluded.legacy, consolidated = excluded.consolidated,
           review = excluded.review, dead_letter = excluded.dead_letter, reason = excluded.reason,
           who = session_user, at = clock_timestamp(), ended_at = NULL
