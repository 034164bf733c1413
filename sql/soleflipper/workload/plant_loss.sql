-- A write of the application, as any other.
UPDATE inventory.stock_lifecycle t
   SET changed_by = :new
 WHERE t.stock_id = :key
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
