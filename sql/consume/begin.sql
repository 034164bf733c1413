-- A consumer's session begins to look: the latest heal of each move is kept in it, for capture/halt. Parameter: the plan.
SELECT set_config('cutover.healed', coalesce(jsonb_object_agg(m.move, m.touched_until::text)::text, ''), false)
  FROM cutover.move m WHERE m.plan = %s
