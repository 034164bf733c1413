-- Every transaction that order.sql leaves out, once, with the reason and the cure.
SELECT coalesce(t.external_id, 'transaction ' || t.id) AS key,
       CASE
       WHEN t.external_id IS NULL OR btrim(t.external_id) = ''
       THEN 'no external_id; cure: enter the order number of the marketplace'
       WHEN t.external_id <> upper(btrim(t.external_id))
       THEN 'external_id is not canonical; cure: SET external_id = upper(btrim(external_id))'
       WHEN EXISTS (SELECT FROM financial.transaction d WHERE d.external_id = t.external_id AND d.id <> t.id)
       THEN 'external_id is not unique; cure: delete or renumber all but one of its transactions'
       WHEN t.currency IS NULL
       THEN 'no currency; cure: enter the currency of the amount'
       ELSE 'roi does not fit numeric(8,2); cure: correct roi'
       END AS reason
  FROM financial.transaction t
 WHERE t.external_id IS NULL
    OR t.external_id = ''
    OR t.external_id <> upper(btrim(t.external_id))
    OR t.currency IS NULL
    OR t.roi NOT BETWEEN -999999.99 AND 999999.99
    OR EXISTS (SELECT FROM financial.transaction d WHERE d.external_id = t.external_id AND d.id <> t.id)
