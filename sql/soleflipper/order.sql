-- One order per transaction that has a currency, an order number written the canonical way, and that number alone.
-- What is left out is in order_quarantine.sql, with the cure.
SELECT t.external_id,
       t.inventory_item_id,
       t.platform_id,
       t.status,
       t.transaction_date AS sold_at,
       t.amount AS gross_sale,
       t.platform_fee,
       t.net_profit,
       -- Guarded here too: a planner may evaluate the cast before the filter below.
       CASE WHEN t.roi BETWEEN -999999.99 AND 999999.99 THEN t.roi END::numeric(8,2) AS roi,
       t.currency
  FROM financial.transaction t
 WHERE t.external_id IS NOT NULL
   AND t.external_id <> ''
   AND t.external_id = upper(btrim(t.external_id))
   AND t.currency IS NOT NULL
   AND (t.roi IS NULL OR t.roi BETWEEN -999999.99 AND 999999.99)
   AND NOT EXISTS (
       SELECT FROM financial.transaction d
        WHERE d.external_id = t.external_id
          AND d.id <> t.id)
