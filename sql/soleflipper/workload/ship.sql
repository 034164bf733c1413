UPDATE sales."order" t
   SET status = 'shipped', updated_at = clock_timestamp() AT TIME ZONE 'UTC'
 WHERE t.id = :key
RETURNING 'kept' AS kind, t.id, to_jsonb(t) AS row;
