-- Booked on the wrong item: all that is known of one belongs to the other.
DELETE FROM inventory.stock_financial t WHERE t.stock_id = :other RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
UPDATE inventory.stock_financial t
   SET stock_id = :other
 WHERE t.stock_id = :key
   AND EXISTS (SELECT FROM inventory.stock s WHERE s.id = :other)
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_lifecycle t WHERE t.stock_id = :other RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
UPDATE inventory.stock_lifecycle t
   SET stock_id = :other
 WHERE t.stock_id = :key
   AND EXISTS (SELECT FROM inventory.stock s WHERE s.id = :other)
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_metrics t WHERE t.stock_id = :other RETURNING 'metrics' AS kind, t.id, to_jsonb(t) AS row;
UPDATE inventory.stock_metrics t
   SET stock_id = :other
 WHERE t.stock_id = :key
   AND EXISTS (SELECT FROM inventory.stock s WHERE s.id = :other)
RETURNING 'metrics' AS kind, t.id, to_jsonb(t) AS row;
