UPDATE financial.transaction t
   SET amount = round((40 + random() * 500)::numeric, 2),
       net_profit = round((random() * 100 - 20)::numeric, 2),
       roi = round((random() * 200 - 50)::numeric, 2),
       status = ('{completed,pending,refunded}'::text[])[1 + floor(random() * 3)::int]
 WHERE t.id = :key
RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
