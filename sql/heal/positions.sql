-- Read on from these offsets.
UPDATE cutover.position p
   SET "offset" = n."offset", updated_at = now()
  FROM unnest(%(partitions)s::int[], %(offsets)s::bigint[]) AS n (partition, "offset")
 WHERE p.plan = %(plan)s AND p.move = %(move)s AND p.partition = n.partition
