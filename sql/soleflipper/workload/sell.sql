-- One transaction over five tables and both moves.
UPDATE inventory.stock t
   SET status = 'sold', quantity = greatest(t.quantity - 1, 0), version = t.version + 1,
       updated_at = clock_timestamp() AT TIME ZONE 'UTC'
 WHERE t.id = :key
RETURNING 'stock' AS kind, t.id, to_jsonb(t) AS row;
UPDATE inventory.stock_financial t
   SET sale_price = round((60 + random() * 500)::numeric, 2), updated_at = clock_timestamp() AT TIME ZONE 'UTC'
 WHERE t.stock_id = :key
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
UPDATE inventory.stock_lifecycle t
   SET previous_status = t.status, status = 'shipped', changed_at = clock_timestamp() AT TIME ZONE 'UTC'
 WHERE t.stock_id = :key
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
DELETE FROM inventory.stock_reservation t
 WHERE t.stock_id = :key
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
-- An item that may be discarded later has no sale that refers to it.
INSERT INTO financial.transaction AS t (id, external_id, inventory_item_id, platform_id, transaction_date, status,
                                        amount, platform_fee, net_profit, roi, currency, buyer_email)
SELECT :new, 'SOLD-' || :writer::text || '-' || :number::text,
       CASE WHEN s.location IS DISTINCT FROM 'DEMO' THEN s.id END, p.id,
       clock_timestamp() AT TIME ZONE 'UTC', 'completed', round((60 + random() * 500)::numeric, 2), 9.95, 12.50, 8.25,
       (ARRAY['EUR', 'USD', 'GBP'])[1 + floor(random() * 3)::int], 'buyer@mail.example'
  FROM inventory.stock s
 CROSS JOIN (SELECT id FROM platform.marketplace ORDER BY id LIMIT 1) p
 WHERE s.id = :key
RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
