-- Transactions of one writer that are mapped and have no order of their own yet.
SELECT t.id
  FROM financial.transaction t
 WHERE abs(hashtextextended(t.id::text, 0) % :writers) = :writer
   AND t.external_id = upper(btrim(t.external_id))
   AND t.external_id <> ''
   AND t.currency IS NOT NULL
   AND (t.roi IS NULL OR abs(t.roi) < 1000000)
   AND NOT EXISTS (SELECT FROM financial.transaction d WHERE d.external_id = t.external_id AND d.id <> t.id)
   AND NOT EXISTS (SELECT FROM sales."order" o WHERE o.external_id = t.external_id)
 ORDER BY t.id
 LIMIT :limit
