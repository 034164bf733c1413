SELECT coalesce(m.refreshed_until, clock_timestamp() - interval '1 day'), clock_timestamp()
  FROM cutover.move m WHERE m.plan = %s AND m.move = %s AND m.halted IS NULL AND m.state <> 'completed'
