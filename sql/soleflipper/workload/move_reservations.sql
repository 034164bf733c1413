-- The key of the rows moves: both stock items change.
UPDATE inventory.stock_reservation t
   SET stock_id = :other
 WHERE t.stock_id = :key
   AND EXISTS (SELECT FROM inventory.stock s WHERE s.id = :other)
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
