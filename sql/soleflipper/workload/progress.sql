UPDATE inventory.stock_lifecycle t
   SET previous_status = t.status,
       status = ('{received,inspected,listed,reserved,shipped,delivered}'::text[])[1 + floor(random() * 6)::int],
       changed_at = clock_timestamp() AT TIME ZONE 'UTC',
       changed_by = 'writer ' || :writer::text
 WHERE t.stock_id = :key
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
