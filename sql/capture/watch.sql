-- What capture and consumers compare with what they started from: plan, digest, gap, and each move's halt.
SELECT p.digest, p.consistent_point, p.gap,
       (SELECT array_agg(m.move || ':' || (m.halted IS NOT NULL)::text || ':' || coalesce(m.topic_identity, '') || ':' || m.partitions
                         ORDER BY m.move)
          FROM cutover.move m WHERE m.plan = p.plan)
  FROM cutover.plan p WHERE p.plan = %s
