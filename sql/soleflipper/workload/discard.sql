DELETE FROM inventory.stock_financial t
 USING inventory.stock s
 WHERE s.id = :key AND s.location = 'DEMO' AND t.stock_id = s.id
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_lifecycle t
 USING inventory.stock s
 WHERE s.id = :key AND s.location = 'DEMO' AND t.stock_id = s.id
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_metrics t
 USING inventory.stock s
 WHERE s.id = :key AND s.location = 'DEMO' AND t.stock_id = s.id
RETURNING 'metrics' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_reservation t
 USING inventory.stock s
 WHERE s.id = :key AND s.location = 'DEMO' AND t.stock_id = s.id
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock t
 WHERE t.id = :key AND t.location = 'DEMO'
RETURNING 'stock' AS kind, t.id, to_jsonb(t) AS row;
