UPDATE inventory.stock_financial t
   SET purchase_price = 99999999.99
 WHERE t.stock_id = :key
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_reservation t
 WHERE t.stock_id = :key
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
ROLLBACK;
