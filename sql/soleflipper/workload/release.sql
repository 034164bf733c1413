UPDATE inventory.stock_reservation t
   SET status = 'released'
 WHERE t.stock_id = :key
   AND t.status = 'active'
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
