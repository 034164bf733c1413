-- The legacy ledger is changed where an order exists that is not its own: a difference that is kept, never written.
UPDATE financial.transaction t
   SET amount = t.amount + 1
  FROM sales."order" o
 WHERE o.id = :key
   AND t.external_id = o.external_id;
