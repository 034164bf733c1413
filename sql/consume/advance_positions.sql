UPDATE cutover.position p
   SET "offset" = n."offset", applied_offset = n."offset", applied_lsn = greatest(p.applied_lsn, n.lsn), worker = %s, updated_at = now(),
       clock_low = least(p.clock_low, now()), clock_high = greatest(p.clock_high, now()),
       applied_time = CASE WHEN n.time > 0 THEN timestamptz '2000-01-01 00:00:00+00' + n.time * interval '1 microsecond'
                           ELSE p.applied_time END,
       latency_ms = coalesce(n.latency_ms, p.latency_ms)
  FROM unnest(%s::int[], %s::bigint[], %s::pg_lsn[], %s::bigint[], %s::float8[])
       AS n (partition, "offset", lsn, time, latency_ms)
 WHERE p.plan = %s AND p.move = %s AND p.partition = n.partition
