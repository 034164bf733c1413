INSERT INTO financial.transaction AS t (id, external_id, inventory_item_id, platform_id, transaction_date, status,
                                        amount, platform_fee, net_profit, roi, currency, buyer_email, card_token)
SELECT :new, 'DEMO-' || :writer::text || '-' || :number::text, s.inventory_item_id, p.id,
       clock_timestamp() AT TIME ZONE 'UTC', 'pending', round((40 + random() * 500)::numeric, 2), 4.20, -1.50, -0.75,
       (ARRAY['EUR', 'USD', 'GBP'])[1 + floor(random() * 3)::int], 'buyer@mail.example', 'tok_' || :number::text
  FROM (SELECT id FROM platform.marketplace ORDER BY id LIMIT 1) p
  LEFT JOIN financial.transaction s ON s.id = :key
RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
