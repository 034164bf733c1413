DELETE FROM inventory.stock_reservation t
 WHERE t.stock_id = :key
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
