-- The consolidated table against the ledger alone: neither the legacy tables nor the mapping are read.
WITH ledger AS MATERIALIZED (
    SELECT entry ->> 'kind' AS kind, entry -> 'row' AS image FROM jsonb_array_elements(:rows::jsonb) entry),
stock AS MATERIALIZED (
    SELECT t.* FROM ledger, jsonb_populate_record(NULL::inventory.stock, image) t WHERE kind = 'stock'),
financial AS MATERIALIZED (
    SELECT t.* FROM ledger, jsonb_populate_record(NULL::inventory.stock_financial, image) t WHERE kind = 'financial'),
lifecycle AS MATERIALIZED (
    SELECT t.* FROM ledger, jsonb_populate_record(NULL::inventory.stock_lifecycle, image) t WHERE kind = 'lifecycle'),
metrics AS MATERIALIZED (
    SELECT t.* FROM ledger, jsonb_populate_record(NULL::inventory.stock_metrics, image) t WHERE kind = 'metrics'),
reserved AS MATERIALIZED (
    SELECT t.stock_id,
           sum(t.reserved_qty) AS quantity,
           (array_agg(t.reserved_by ORDER BY t.expires_at DESC NULLS FIRST, t.id))[1] AS holder,
           nullif(max(coalesce(t.expires_at, 'infinity')), 'infinity') AS expires
      FROM ledger, jsonb_populate_record(NULL::inventory.stock_reservation, image) t
     WHERE kind = 'reservation'
       AND t.status = 'active'
       AND coalesce(t.expires_at, 'infinity') > (now() AT TIME ZONE 'UTC')
     GROUP BY t.stock_id)
SELECT k.key, cell."column", cell.expected, cell.found
  FROM unnest(:keys::uuid[]) AS k (key)
  LEFT JOIN stock s ON s.id = k.key
  LEFT JOIN financial f ON f.stock_id = k.key
  LEFT JOIN lifecycle l ON l.stock_id = k.key
  LEFT JOIN metrics m ON m.stock_id = k.key
  LEFT JOIN reserved r ON r.stock_id = k.key
  LEFT JOIN inventory.stock c ON c.id = k.key
 CROSS JOIN LATERAL (VALUES
       ('id', s.id::text, c.id::text),
       ('product_id', s.product_id::text, c.product_id::text),
       ('quantity', s.quantity::text, c.quantity::text),
       ('status', s.status, c.status),
       ('location', s.location, c.location),
       ('version', s.version::text, c.version::text),
       ('updated_at', s.updated_at::text, c.updated_at::text),
       ('financial_id', f.id::text, c.financial_id::text),
       ('purchase_price', f.purchase_price::text, c.purchase_price::text),
       ('sale_price', f.sale_price::text, c.sale_price::text),
       ('currency', f.currency, c.currency),
       ('fees', f.fees::text, c.fees::text),
       ('financial_updated_at', f.updated_at::text, c.financial_updated_at::text),
       ('lifecycle_id', l.id::text, c.lifecycle_id::text),
       ('lifecycle_status', l.status, c.lifecycle_status),
       ('previous_lifecycle_status', l.previous_status, c.previous_lifecycle_status),
       ('state_changed_at', l.changed_at::text, c.state_changed_at::text),
       ('state_changed_by', l.changed_by, c.state_changed_by),
       ('metrics_id', m.id::text, c.metrics_id::text),
       ('roi', m.roi::text, c.roi::text),
       ('profit_margin', m.profit_margin::text, c.profit_margin::text),
       ('days_in_stock', m.days_in_stock::text, c.days_in_stock::text),
       ('last_price_check', m.last_price_check::text, c.last_price_check::text),
       ('metrics_updated_at', m.updated_at::text, c.metrics_updated_at::text),
       ('reserved_qty', CASE WHEN s.id IS NOT NULL THEN coalesce(r.quantity, 0) END::text, c.reserved_qty::text),
       ('reserved_by', r.holder::text, c.reserved_by::text),
       ('reservation_expires', r.expires::text, c.reservation_expires::text)
       ) AS cell ("column", expected, found)
 WHERE cell.expected IS DISTINCT FROM cell.found
 ORDER BY k.key
