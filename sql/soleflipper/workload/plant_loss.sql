-- A write of the application to a sale that has its order.
UPDATE financial.transaction t
   SET amount = t.amount + 0.01
 WHERE t.id = :key
   AND t.migrated_to_order_id IS NOT NULL
RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
