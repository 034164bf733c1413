INSERT INTO cutover.move AS move (plan, move, target, facade, topic, topic_identity, partitions, key)
VALUES (%(plan)s, %(move)s, %(target)s, %(facade)s, %(topic)s, %(topic_identity)s, %(partitions)s, %(key)s)
    ON CONFLICT (plan, move) DO UPDATE SET facade = excluded.facade, key = excluded.key,
          state = CASE WHEN move.state = 'left' THEN 'prepared' ELSE move.state END
