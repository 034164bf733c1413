-- What the log follows from here on: the plan's slot, as nobody but this capture can move it now. Times count from 2000.
SELECT p.system_id, p.consistent_point::text, p.healed, s.confirmed_flush_lsn::text,
       (extract(epoch FROM clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint,
       (SELECT jsonb_object_agg(m.move, m.healed_lsn::text) FROM cutover.move m WHERE m.plan = p.plan)
  FROM cutover.plan p JOIN pg_catalog.pg_replication_slots s ON s.slot_name = p.slot
 WHERE p.plan = %s
