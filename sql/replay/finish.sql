UPDATE cutover.replay r SET finished_at = now() WHERE r.id = %s RETURNING r.records, r.keys, r.changed
