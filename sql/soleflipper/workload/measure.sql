INSERT INTO inventory.stock_metrics AS t (stock_id, roi, profit_margin, days_in_stock, views, last_price_check)
VALUES (:key, round((random() * 300 - 100)::numeric, 2), round((random() * 200 - 100)::numeric, 2),
        floor(random() * 700)::int, :number::int, clock_timestamp() AT TIME ZONE 'UTC')
ON CONFLICT (stock_id) DO UPDATE
   SET roi = excluded.roi, profit_margin = excluded.profit_margin, days_in_stock = excluded.days_in_stock,
       views = t.views + 1, last_price_check = excluded.last_price_check
RETURNING 'metrics' AS kind, t.id, to_jsonb(t) AS row;
