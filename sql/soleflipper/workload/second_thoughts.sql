-- What was done after the savepoint never happened; what was done before and after it did.
UPDATE inventory.stock_lifecycle t
   SET changed_by = 'before ' || :number::text
 WHERE t.stock_id = :key
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
SAVEPOINT second_thoughts;
UPDATE inventory.stock_financial t
   SET sale_price = 0.01
 WHERE t.stock_id = :key
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_metrics t WHERE t.stock_id = :key RETURNING 'metrics' AS kind, t.id, to_jsonb(t) AS row;
ROLLBACK TO SAVEPOINT second_thoughts;
UPDATE inventory.stock t
   SET location = 'R' || :number::text, updated_at = clock_timestamp() AT TIME ZONE 'UTC'
 WHERE t.id = :key
   AND t.location IS DISTINCT FROM 'DEMO'
RETURNING 'stock' AS kind, t.id, to_jsonb(t) AS row;
