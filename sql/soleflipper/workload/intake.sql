-- A new item, of the same product as another; it may be discarded again.
INSERT INTO inventory.stock AS t (id, product_id, size_id, supplier_id, location, notes)
SELECT :new, s.product_id, s.size_id, s.supplier_id, 'DEMO', 'näher prüfen — ' || :number::text
  FROM inventory.stock s
 WHERE s.id = :key
RETURNING 'stock' AS kind, t.id, to_jsonb(t) AS row;
INSERT INTO inventory.stock_financial AS t (stock_id, purchase_price, currency)
SELECT s.id, round((20 + random() * 200)::numeric, 2), (ARRAY['EUR', 'USD', 'GBP'])[1 + floor(random() * 3)::int]
  FROM inventory.stock s
 WHERE s.id = :new
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
INSERT INTO inventory.stock_lifecycle AS t (stock_id, status)
SELECT s.id, 'received'
  FROM inventory.stock s
 WHERE s.id = :new
RETURNING 'lifecycle' AS kind, t.id, to_jsonb(t) AS row;
