-- Orders of one writer that the system of record had before, and of which the legacy ledger has a transaction.
SELECT o.id
  FROM sales."order" o
 WHERE abs(hashtextextended(o.id::text, 0) % :writers) = :writer
   AND EXISTS (SELECT FROM financial.transaction t WHERE t.external_id = o.external_id)
 ORDER BY o.id
 LIMIT :limit
