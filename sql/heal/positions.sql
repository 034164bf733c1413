-- Read on from these offsets; anew: nothing is known to be applied, whatever was before.
UPDATE cutover.position p
   SET "offset" = n."offset", applied_offset = n."offset", updated_at = now(),
       applied_lsn = CASE WHEN %(anew)s THEN '0/0' ELSE p.applied_lsn END
  FROM unnest(%(partitions)s::int[], %(offsets)s::bigint[]) AS n (partition, "offset")
 WHERE p.plan = %(plan)s AND p.move = %(move)s AND p.partition = n.partition
