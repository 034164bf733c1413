-- Fills legacy.sql's tables; the same rows, seed and moment give the same bytes. seed.py sets, for this transaction:
--   soleflipper.rows  rows of inventory.stock; everything else follows from it
--   soleflipper.seed  a number
--   soleflipper.at    the moment taken as now, a timestamp in UTC
-- Pseudo-randomness is a hash of (row, what it is drawn for, seed), so that no statement depends on the order of rows.
SET LOCAL jit = off;  -- compiling these long lists of expressions takes longer than running them

CREATE FUNCTION pg_temp.rows() RETURNS int LANGUAGE sql STABLE AS
    $$ SELECT current_setting('soleflipper.rows')::int $$;
CREATE FUNCTION pg_temp.at() RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT current_setting('soleflipper.at')::timestamp $$;
-- A number in [0, below), drawn for row n and purpose.
CREATE FUNCTION pg_temp.draw(n bigint, purpose int, below int) RETURNS int LANGUAGE sql STABLE AS
    $$ SELECT ((hashint8extended(n, current_setting('soleflipper.seed')::bigint * 1009 + purpose)
                & 9223372036854775807) % below)::int $$;
CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid LANGUAGE sql STABLE AS
    $$ SELECT md5(current_setting('soleflipper.seed') || kind || n)::uuid $$;
-- 70 % EUR, 20 % USD, 10 % GBP.
CREATE FUNCTION pg_temp.currency(n bigint, purpose int) RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT ('{EUR,EUR,EUR,EUR,EUR,EUR,EUR,USD,USD,GBP}'::text[])[1 + pg_temp.draw(n, purpose, 10)] $$;
-- Which of a kind's rows a row refers to: one for every so many stock rows, at least five.
CREATE FUNCTION pg_temp.products() RETURNS int LANGUAGE sql STABLE AS $$ SELECT greatest(5, pg_temp.rows() / 25) $$;
CREATE FUNCTION pg_temp.listings() RETURNS int LANGUAGE sql STABLE AS $$ SELECT pg_temp.rows() / 4 $$;
CREATE FUNCTION pg_temp.sales() RETURNS int LANGUAGE sql STABLE AS $$ SELECT pg_temp.rows() / 2 $$;

INSERT INTO platform.marketplace (id, name, slug, fee_percentage, supports_fees, created_at)
SELECT pg_temp.id('marketplace', n), m.name, lower(m.name), m.fee, m.fee IS NOT NULL, pg_temp.at() - interval '3 years'
  FROM (VALUES (1, 'StockX', 9.5), (2, 'GOAT', 9.9), (3, 'eBay', 8.0), (4, 'Alias', NULL), (5, 'Klekt', 16.2))
       AS m (n, name, fee);

INSERT INTO supplier.account (id, name, email, payment_provider, payment_method_token, payment_method_last4,
                              payment_method_brand, created_at, updated_at)
SELECT pg_temp.id('account', n), 'Supplier ' || n, 'buy' || n || '@supplier.example',
       (ARRAY['stripe', 'adyen'])[1 + n % 2], 'tok_' || md5('token' || n),
       lpad(pg_temp.draw(n, 1, 10000)::text, 4, '0'),
       (ARRAY['visa', 'mastercard', 'amex'])[1 + n % 3], pg_temp.at() - interval '2 years',
       pg_temp.at() - interval '1 year'
  FROM generate_series(1, 40) n;

INSERT INTO catalog.category (id, parent_id, name, slug, created_at)
SELECT pg_temp.id('category', n), CASE WHEN n > 2 THEN pg_temp.id('category', 1 + n % 2) END,
       c.name, lower(replace(c.name, ' ', '-')), pg_temp.at() - interval '3 years'
  FROM unnest(ARRAY['Footwear', 'Apparel', 'Sneakers', 'Hoodies', 'Boots', 'Jackets', 'Slides', 'Shirts'])
       WITH ORDINALITY AS c (name, n)
 ORDER BY n;

INSERT INTO catalog.brand (id, name, slug, created_at)
SELECT pg_temp.id('brand', n), b.name, lower(replace(b.name, ' ', '-')), pg_temp.at() - interval '3 years'
  FROM unnest(ARRAY['Nike', 'Adidas', 'Jordan', 'New Balance', 'Asics', 'Salomon', 'Puma', 'Crocs', 'Supreme', 'LEGO'])
       WITH ORDINALITY AS b (name, n);

INSERT INTO catalog.brand_patterns (id, brand_id, pattern, priority, created_at)
SELECT pg_temp.id('pattern', n), pg_temp.id('brand', 1 + n % 10), '\mpattern' || n || '\M', n % 5 * 50, pg_temp.at()
  FROM generate_series(1, 30) n;

INSERT INTO catalog.sizes (id, category_id, value, standardized_value, region, created_at)
SELECT pg_temp.id('size', n), pg_temp.id('category', 3),
       CASE n % 3 WHEN 0 THEN 'US ' WHEN 1 THEN 'EU ' ELSE '' END || (4 + n / 3 * 0.5)::numeric(4,1),
       CASE WHEN n % 10 <> 0 THEN 4 + n / 3 * 0.5 END, (ARRAY['US', 'EU', 'UK'])[1 + n % 3], pg_temp.at()
  FROM generate_series(1, 60) n;

INSERT INTO catalog.size_master (id, category_id, us_value, eu_value, uk_value, created_at)
SELECT pg_temp.id('size_master', n), pg_temp.id('category', 3), 4 + n * 0.5, 36 + n * 0.5,
       CASE WHEN n % 4 <> 0 THEN 3.5 + n * 0.5 END, pg_temp.at()
  FROM generate_series(1, 20) n;

INSERT INTO catalog.size_conversion (id, from_size_id, to_size_id, confidence)
SELECT pg_temp.id('size_conversion', n), pg_temp.id('size', n), pg_temp.id('size', n + 1), (50 + n % 50) / 100.0
  FROM generate_series(1, 59) n;

INSERT INTO catalog.product (id, sku, name, brand_id, category_id, retail_price, enrichment_data,
                             created_at, updated_at)
SELECT pg_temp.id('product', n), upper(substr(md5('sku' || n), 1, 6)) || '-' || lpad(n::text, 6, '0'), 'Model ' || n,
       CASE WHEN n % 20 <> 0 THEN pg_temp.id('brand', 1 + pg_temp.draw(n, 2, 10)) END,
       pg_temp.id('category', 1 + pg_temp.draw(n, 3, 8)),
       CASE WHEN n % 7 <> 0 THEN 60 + pg_temp.draw(n, 4, 24000) / 100.0 END,
       CASE WHEN n % 4 <> 0 THEN jsonb_build_object('colorway', 'C' || n % 90, 'release', 2018 + n % 8) END,
       pg_temp.at() - interval '2 years', pg_temp.at() - pg_temp.draw(n, 5, 500) * interval '1 day'
  FROM generate_series(1, pg_temp.products()) n;

INSERT INTO catalog.product_variant (id, product_id, size_id, size_label, barcode, created_at)
SELECT pg_temp.id('variant', n), pg_temp.id('product', 1 + n % pg_temp.products()),
       CASE WHEN n % 6 <> 0 THEN pg_temp.id('size', 1 + pg_temp.draw(n, 6, 60)) END,
       'US ' || 4 + pg_temp.draw(n, 7, 20) * 0.5, CASE WHEN n % 3 <> 0 THEN lpad(n::text, 13, '4') END, pg_temp.at()
  FROM generate_series(1, pg_temp.products() * 2) n;

-- Stock, and its fragments: money for 92 % of it, a lifecycle for 95 %, metrics for 60 %.
INSERT INTO inventory.stock (id, product_id, size_id, supplier_id, quantity, status, purchase_date, listed_stockx,
                             location, notes, version, created_at, updated_at)
SELECT pg_temp.id('stock', n),
       pg_temp.id('product', 1 + pg_temp.draw(n, 10, pg_temp.products())),
       CASE WHEN n % 12 <> 0 THEN pg_temp.id('size', 1 + pg_temp.draw(n, 11, 60)) END,
       CASE WHEN n % 9 <> 0 THEN pg_temp.id('account', 1 + pg_temp.draw(n, 12, 40)) END,
       1 + pg_temp.draw(n, 13, 20) / 17,
       ('{in_stock,in_stock,in_stock,in_stock,in_stock,listed,listed,sold,sold,returned}'::text[])
           [1 + pg_temp.draw(n, 14, 10)],
       CASE WHEN n % 15 <> 0 THEN (pg_temp.at() - pg_temp.draw(n, 15, 700) * interval '1 day')::date END,
       pg_temp.draw(n, 16, 4) = 0,
       'R' || pg_temp.draw(n, 17, 40) || '-S' || pg_temp.draw(n, 18, 12),
       CASE WHEN n % 30 = 0 THEN 'box damaged — näher prüfen' END,
       1 + pg_temp.draw(n, 19, 5),
       pg_temp.at() - interval '200 days' - pg_temp.draw(n, 20, 500) * interval '1 day',
       pg_temp.at() - pg_temp.draw(n, 21, 17280000) * interval '1 second'
  FROM generate_series(1, pg_temp.rows()) n;

INSERT INTO inventory.stock_financial (id, stock_id, purchase_price, sale_price, currency, fees, updated_at)
SELECT pg_temp.id('financial', n), pg_temp.id('stock', n),
       CASE WHEN n % 40 <> 0 THEN 40 + pg_temp.draw(n, 31, 30000) / 100.0 END,
       CASE WHEN pg_temp.draw(n, 32, 3) = 0 THEN 60 + pg_temp.draw(n, 33, 45000) / 100.0 END,
       pg_temp.currency(n, 34),
       CASE WHEN n % 10 = 0 THEN NULL
            WHEN n % 10 = 1 THEN '{}'
            WHEN n % 10 = 2 THEN jsonb_build_object('platform', pg_temp.draw(n, 35, 3000) / 100.0)
            ELSE jsonb_build_object('platform', pg_temp.draw(n, 35, 3000) / 100.0,
                                    'payment', pg_temp.draw(n, 36, 900) / 100.0, 'vat', n % 2 = 0) END,
       pg_temp.at() - pg_temp.draw(n, 37, 17280000) * interval '1 second'
  FROM generate_series(1, pg_temp.rows()) n
 WHERE pg_temp.draw(n, 30, 100) < 92;

INSERT INTO inventory.stock_lifecycle (id, stock_id, status, previous_status, changed_at, changed_by)
SELECT pg_temp.id('lifecycle', n), pg_temp.id('stock', n),
       ('{received,inspected,listed,reserved,shipped,delivered}'::text[])[1 + pg_temp.draw(n, 41, 6)],
       CASE WHEN n % 5 <> 0 THEN ('{ordered,received,inspected}'::text[])[1 + pg_temp.draw(n, 42, 3)] END,
       pg_temp.at() - pg_temp.draw(n, 43, 17280000) * interval '1 second',
       CASE WHEN n % 8 <> 0 THEN 'user' || pg_temp.draw(n, 44, 25) END
  FROM generate_series(1, pg_temp.rows()) n
 WHERE pg_temp.draw(n, 40, 100) < 95;

INSERT INTO inventory.stock_metrics (id, stock_id, roi, profit_margin, days_in_stock, views, last_price_check,
                                     updated_at)
SELECT pg_temp.id('metrics', n), pg_temp.id('stock', n),
       CASE WHEN n % 1000 = 0 THEN 999999.99                -- a purchase price of next to nothing
            WHEN n % 11 <> 0 THEN pg_temp.draw(n, 51, 40000) / 100.0 - 100 END,
       pg_temp.draw(n, 52, 120000) / 100.0 - 600,
       pg_temp.draw(n, 53, 700), pg_temp.draw(n, 54, 3000),
       CASE WHEN n % 6 <> 0 THEN pg_temp.at() - pg_temp.draw(n, 55, 864000) * interval '1 second' END,
       pg_temp.at() - pg_temp.draw(n, 56, 864000) * interval '1 second'
  FROM generate_series(1, pg_temp.rows()) n
 WHERE pg_temp.draw(n, 50, 100) < 60;

-- 30 % of the stock has one to four reservations. 20 % of these are released; of all, 5 % have no end, 40 % have run
-- out, 10 % run out within five minutes.
INSERT INTO inventory.stock_reservation (id, stock_id, reserved_qty, reserved_by, status, expires_at, note, created_at)
SELECT pg_temp.id('reservation', n * 4 + i), pg_temp.id('stock', n), 1 + pg_temp.draw(n * 4 + i, 61, 3),
       pg_temp.id('customer', pg_temp.draw(n * 4 + i, 62, 2000)),
       CASE WHEN pg_temp.draw(n * 4 + i, 63, 5) = 0 THEN 'released' ELSE 'active' END,
       pg_temp.at() + CASE e.band WHEN 0 THEN NULL
                                  WHEN 1 THEN -(1 + pg_temp.draw(n * 4 + i, 65, 5000000)) * interval '1 second'
                                  WHEN 2 THEN pg_temp.draw(n * 4 + i, 65, 300000) * interval '1 millisecond'
                                  ELSE (300 + pg_temp.draw(n * 4 + i, 65, 2000000)) * interval '1 second' END,
       CASE WHEN i = 1 AND n % 10 = 0 THEN 'called twice' END,
       pg_temp.at() - interval '60 days' - pg_temp.draw(n * 4 + i, 66, 864000) * interval '1 second'
  FROM generate_series(1, pg_temp.rows()) n
 CROSS JOIN LATERAL generate_series(1, 1 + pg_temp.draw(n, 67, 4)) i
 CROSS JOIN LATERAL (SELECT CASE WHEN p < 5 THEN 0 WHEN p < 45 THEN 1 WHEN p < 55 THEN 2 ELSE 3 END AS band
                       FROM (SELECT pg_temp.draw(n * 4 + i, 64, 100) AS p) percent) e
 WHERE pg_temp.draw(n, 60, 100) < 30;

-- The sales that both ledgers are about. class, in thousandths and exactly so, spread evenly over n:
--   0-9     no external_id                    50-52    no currency
--   10-11   an empty one                      53       a roi too large for the order
--   12-29   in lower case                     54-449   an order that agrees
--   30-49   with blanks around it             450-499  an order that disagrees    500-999  a transaction only
CREATE TEMPORARY TABLE sale ON COMMIT DROP AS
SELECT n, class, platform,
       (ARRAY['SX', 'GT', 'EB', 'AL', 'KL'])[platform] || '-'
           || upper(lpad(to_hex(n::bigint * 2654435761 % 4294967296), 8, '0')) AS number,
       CASE WHEN n % 20 <> 0 THEN pg_temp.id('stock', 1 + pg_temp.draw(n, 71, pg_temp.rows())) END AS stock_id,
       pg_temp.at() - pg_temp.draw(n, 72, 31536000) * interval '1 second' AS sold_at,
       (ARRAY['completed', 'completed', 'completed', 'pending', 'refunded'])[1 + pg_temp.draw(n, 73, 5)] AS status,
       50 + pg_temp.draw(n, 74, 60000) / 100.0 AS amount,
       pg_temp.draw(n, 75, 5000) / 100.0 AS fee,
       pg_temp.draw(n, 76, 20000) / 100.0 - 30 AS profit,
       pg_temp.currency(n, 77) AS currency
  FROM (SELECT n, n::bigint * 7919 % 1000 AS class, 1 + pg_temp.draw(n, 70, 5) AS platform
          FROM generate_series(1, pg_temp.sales()) n) s;

INSERT INTO financial.transaction (id, external_id, inventory_item_id, platform_id, transaction_date, status, amount,
                                   platform_fee, net_profit, roi, currency, buyer_email, card_token, notes, created_at)
SELECT pg_temp.id('transaction', n),
       CASE WHEN class < 10 THEN NULL
            WHEN class < 12 THEN ''
            WHEN class < 30 THEN lower(number)
            WHEN class < 50 THEN repeat(' ', n % 2) || number || ' '
            ELSE number END,
       stock_id, pg_temp.id('marketplace', platform), sold_at, status, amount, fee, profit,
       CASE WHEN class = 53 THEN 1000000 + n ELSE round(profit * 100 / amount, 2) END,
       CASE WHEN class BETWEEN 50 AND 52 THEN NULL ELSE currency END,
       'buyer' || n || '@mail.example', 'tok_' || md5('card' || n),
       CASE WHEN n % 50 = 0 THEN 'typed in by hand' END, sold_at
  FROM sale;

-- One sale in a hundred is booked twice under the same number, one in two hundred again in lower case.
INSERT INTO financial.transaction (id, external_id, inventory_item_id, platform_id, transaction_date, status, amount,
                                   platform_fee, net_profit, roi, currency, notes, created_at)
SELECT pg_temp.id('transaction again', n), CASE WHEN n % 100 = 50 THEN number ELSE lower(number) END,
       stock_id, pg_temp.id('marketplace', platform), sold_at + interval '1 day', status, amount + n % 3,
       fee, profit, round(profit * 100 / amount, 2), currency, 'imported', sold_at + interval '1 day'
  FROM sale
 WHERE class >= 54 AND (n % 100 = 50 OR n % 200 = 77);

-- Orders of both ledgers, some of them for transactions that write the number differently.
INSERT INTO sales."order" (id, external_id, inventory_item_id, platform_id, status, sold_at, gross_sale, platform_fee,
                           net_profit, roi, currency, platform_specific_data, created_at, updated_at)
SELECT pg_temp.id('order', n), number, stock_id, pg_temp.id('marketplace', platform),
       CASE WHEN class >= 450 AND n % 3 = 0 THEN 'shipped' ELSE status END, sold_at,
       CASE WHEN class >= 450 AND n % 3 = 1 THEN amount + 5 ELSE amount END, fee, profit,
       round(profit * 100 / amount, 2),
       CASE WHEN class >= 450 AND n % 3 = 2 THEN 'CHF' ELSE currency END,
       CASE WHEN n % 8 = 0 THEN NULL
            WHEN n % 8 = 1 THEN jsonb_build_object('orderId', number)
            WHEN n % 8 = 2 THEN jsonb_build_object('orderId', number, 'shippingCost', 'n/a', 'totalFees', null)
            ELSE jsonb_build_object('orderId', number, 'shippingCost', (n % 30)::text, 'totalFees', fee) END,
       sold_at, sold_at + interval '2 days'
  FROM sale
 WHERE class BETWEEN 12 AND 39 OR class BETWEEN 54 AND 499;

-- Orders that the other ledger never heard of; one in thirty has no number yet.
INSERT INTO sales."order" (id, external_id, inventory_item_id, platform_id, status, sold_at, gross_sale, platform_fee,
                           net_profit, roi, currency, platform_specific_data, created_at, updated_at)
SELECT pg_temp.id('order only', n), CASE WHEN n % 30 <> 0 THEN 'WEB-' || lpad(n::text, 9, '0') END,
       pg_temp.id('stock', 1 + pg_temp.draw(n, 81, pg_temp.rows())), pg_temp.id('marketplace', 1 + n % 5),
       (ARRAY['pending', 'processing', 'completed'])[1 + pg_temp.draw(n, 82, 3)],
       CASE WHEN n % 4 <> 0 THEN pg_temp.at() - pg_temp.draw(n, 83, 31536000) * interval '1 second' END,
       50 + pg_temp.draw(n, 84, 60000) / 100.0, pg_temp.draw(n, 85, 5000) / 100.0, NULL, NULL, pg_temp.currency(n, 86),
       CASE WHEN n % 2 = 0 THEN jsonb_build_object('orderId', n) END,
       pg_temp.at() - interval '1 year', pg_temp.at() - interval '1 day'
  FROM generate_series(1, pg_temp.sales() / 5) n;

INSERT INTO sales.listing (id, inventory_item_id, platform_id, price, currency, status, platform_specific_data,
                           created_at)
SELECT pg_temp.id('listing', n), pg_temp.id('stock', 1 + pg_temp.draw(n, 90, pg_temp.rows())),
       pg_temp.id('marketplace', 1 + n % 5), 60 + pg_temp.draw(n, 91, 45000) / 100.0, pg_temp.currency(n, 92),
       (ARRAY['active', 'active', 'sold', 'expired'])[1 + n % 4],
       CASE WHEN n % 6 = 0 THEN NULL WHEN n % 6 = 1 THEN '{}' ELSE jsonb_build_object('listingId', 'L' || n) END,
       pg_temp.at() - pg_temp.draw(n, 93, 365) * interval '1 day'
  FROM generate_series(1, pg_temp.listings()) n;

INSERT INTO sales.pricing_history (id, listing_id, old_price, new_price, reason, changed_at)
SELECT pg_temp.id('pricing', n), pg_temp.id('listing', 1 + n % pg_temp.listings()),
       60 + pg_temp.draw(n, 95, 45000) / 100.0, 60 + pg_temp.draw(n, 96, 45000) / 100.0, 'undercut',
       pg_temp.at() - pg_temp.draw(n, 97, 365) * interval '1 day'
  FROM generate_series(1, pg_temp.listings()) n;

INSERT INTO pricing.price_history (id, product_id, inventory_item_id, platform_id, price, price_type, created_at)
SELECT pg_temp.id('price', n), pg_temp.id('product', 1 + pg_temp.draw(n, 100, pg_temp.products())),
       CASE WHEN n % 3 = 0 THEN pg_temp.id('stock', 1 + pg_temp.draw(n, 101, pg_temp.rows())) END,
       pg_temp.id('marketplace', 1 + n % 5), 60 + pg_temp.draw(n, 102, 45000) / 100.0,
       (ARRAY['ask', 'bid', 'last_sale'])[1 + n % 3], pg_temp.at() - pg_temp.draw(n, 103, 400) * interval '1 day'
  FROM generate_series(1, pg_temp.rows() / 2) n;

INSERT INTO analytics.marketplace_data (id, inventory_item_id, platform_id, ask_price, bid_price, currency,
                                        platform_specific, collected_at)
SELECT pg_temp.id('data', n), pg_temp.id('stock', 1 + pg_temp.draw(n, 110, pg_temp.rows())),
       pg_temp.id('marketplace', 1 + n % 5), 60 + pg_temp.draw(n, 111, 45000) / 100.0,
       CASE WHEN n % 7 <> 0 THEN 50 + pg_temp.draw(n, 112, 45000) / 100.0 END, pg_temp.currency(n, 113),
       CASE WHEN n % 5 <> 0 THEN jsonb_build_object('volatility', pg_temp.draw(n, 114, 100) / 100.0) END,
       pg_temp.at() - pg_temp.draw(n, 115, 200) * interval '1 hour'
  FROM generate_series(1, pg_temp.rows() / 5) n;

INSERT INTO analytics.sales_forecasts (id, product_id, forecast_date, predicted_units, confidence, model, created_at)
SELECT pg_temp.id('forecast', n), pg_temp.id('product', 1 + n % pg_temp.products()),
       (pg_temp.at() + n / pg_temp.products() * interval '1 day')::date, pg_temp.draw(n, 120, 5000) / 100.0,
       pg_temp.draw(n, 121, 10000) / 10000.0, (ARRAY['arima', 'naive'])[1 + n % 2], pg_temp.at()
  FROM generate_series(1, pg_temp.products() * 3) n;

INSERT INTO logging.event_store (event_type, aggregate_id, payload, created_at)
SELECT (ARRAY['stock.created', 'stock.priced', 'order.imported'])[1 + n % 3],
       pg_temp.id('stock', 1 + pg_temp.draw(n, 130, pg_temp.rows())), jsonb_build_object('sequence', n),
       pg_temp.at() - pg_temp.draw(n, 131, 400) * interval '1 day'
  FROM generate_series(1, pg_temp.rows() / 5) n;

DROP FUNCTION pg_temp.draw, pg_temp.id, pg_temp.currency, pg_temp.products, pg_temp.listings, pg_temp.sales,
              pg_temp.rows, pg_temp.at;
