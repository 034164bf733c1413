-- What capture and consumers compare with what they started from: plan, digest, gap, each move's halt and latest heal, the
-- publication; with each move the control schema's version, since a newer service may need what this one does not write.
SELECT p.digest, p.consistent_point, p.gap,
       (SELECT array_agg(m.move || ':' || (m.halted IS NOT NULL)::text || ':' || coalesce(m.topic_identity, '') || ':' || m.partitions
                         || ':' || coalesce(m.touched_until::text, '') || ':' || (SELECT max(version) FROM cutover.schema_version)
                         ORDER BY m.move)
          FROM cutover.move m WHERE m.plan = p.plan),
       p.publication_mark, cutover.publication_stands(p.publication_mark, p.slot), p.healed
  FROM cutover.plan p WHERE p.plan = %s
