-- Fragments go while their item stays.
DELETE FROM inventory.stock_metrics t WHERE t.stock_id = :key RETURNING 'metrics' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_financial t
 WHERE t.stock_id = :key
   AND :number::int % 3 = 0
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
