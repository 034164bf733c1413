SELECT 'stock' AS kind, t.id, to_jsonb(t) AS row FROM inventory.stock t WHERE t.id = ANY (:keys::uuid[])
UNION ALL
SELECT 'financial', t.id, to_jsonb(t) FROM inventory.stock_financial t WHERE t.stock_id = ANY (:keys::uuid[])
UNION ALL
SELECT 'lifecycle', t.id, to_jsonb(t) FROM inventory.stock_lifecycle t WHERE t.stock_id = ANY (:keys::uuid[])
UNION ALL
SELECT 'metrics', t.id, to_jsonb(t) FROM inventory.stock_metrics t WHERE t.stock_id = ANY (:keys::uuid[])
UNION ALL
SELECT 'reservation', t.id, to_jsonb(t) FROM inventory.stock_reservation t WHERE t.stock_id = ANY (:keys::uuid[])
