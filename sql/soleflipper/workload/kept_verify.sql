-- What sales."order" says of its own orders stays as the application wrote it last, whatever the legacy ledger says.
SELECT k.key, cell."column", cell.expected, cell.found
  FROM unnest(:keys::uuid[]) AS k (key)
  LEFT JOIN jsonb_array_elements(:rows::jsonb) entry ON (entry ->> 'id')::uuid = k.key
  LEFT JOIN sales."order" o ON o.id = k.key
 CROSS JOIN LATERAL (
       SELECT coalesce(e.key, f.key) AS "column", e.value AS expected, f.value AS found
         FROM jsonb_each_text(entry -> 'row') e
         FULL JOIN jsonb_each_text(to_jsonb(o)) f ON f.key = e.key) cell
 WHERE cell.expected IS DISTINCT FROM cell.found
 ORDER BY k.key
