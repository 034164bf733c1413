-- The orders against the ledger alone, and the link back on the legacy ledger. A sale whose number is missing, or not
-- written the canonical way, has no order; neither have numbers that no sale bears any more.
WITH ledger AS MATERIALIZED (
    SELECT t.*, coalesce(t.external_id <> '' AND t.external_id = upper(btrim(t.external_id)), false) AS migrates
      FROM jsonb_array_elements(:rows::jsonb) entry, jsonb_populate_record(NULL::financial.transaction, entry -> 'row') t),
former AS MATERIALIZED (
    SELECT DISTINCT ON (entry -> 'row' ->> 'external_id') (entry ->> 'id')::uuid AS id,
           entry -> 'row' ->> 'external_id' AS external_id
      FROM jsonb_array_elements(:former::jsonb) entry
     WHERE entry -> 'row' ->> 'external_id' IS NOT NULL)
SELECT k.key, cell."column", cell.expected, cell.found
  FROM unnest(:keys::uuid[]) AS k (key)
  JOIN ledger t ON t.id = k.key AND t.migrates
  LEFT JOIN sales."order" o ON o.external_id = t.external_id
  LEFT JOIN financial.transaction back ON back.id = k.key
 CROSS JOIN LATERAL (VALUES
       ('external_id', t.external_id, o.external_id),
       ('inventory_item_id', t.inventory_item_id::text, o.inventory_item_id::text),
       ('platform_id', t.platform_id::text, o.platform_id::text),
       ('status', t.status, o.status),
       ('sold_at', t.transaction_date::text, o.sold_at::text),
       ('gross_sale', t.amount::text, o.gross_sale::text),
       ('platform_fee', t.platform_fee::text, o.platform_fee::text),
       ('net_profit', t.net_profit::text, o.net_profit::text),
       ('roi', t.roi::text, o.roi::text),
       ('currency', t.currency, o.currency),
       ('migrated_to_order_id', o.id::text, back.migrated_to_order_id::text),
       ('deprecated', 'true', back.deprecated::text)
       ) AS cell ("column", expected, found)
 WHERE cell.expected IS DISTINCT FROM cell.found
UNION ALL
SELECT f.id, 'external_id', NULL, o.external_id
  FROM former f
  JOIN sales."order" o ON o.external_id = f.external_id
 WHERE NOT EXISTS (SELECT FROM ledger t WHERE t.external_id = f.external_id AND t.migrates)
UNION ALL
SELECT k.key, 'migrated_to_order_id', NULL, back.migrated_to_order_id::text
  FROM unnest(:keys::uuid[]) AS k (key)
  JOIN ledger t ON t.id = k.key AND NOT t.migrates
  JOIN financial.transaction back ON back.id = k.key
 WHERE back.migrated_to_order_id IS NOT NULL OR back.deprecated
 ORDER BY 1
