-- Keeps the link of each transaction to its order, and clears it where there is none. A transaction that the mapping
-- leaves out has not been migrated, even if an order has its number; so this reads the mapping, as installed.
WITH linked AS MATERIALIZED (
    SELECT c.id,
           (SELECT o.id
              FROM cutover.map_soleflipper_order m
              JOIN sales."order" o ON o.external_id = m.external_id
             WHERE m.external_id = c.external_id) AS order_id
      FROM financial.transaction c
     WHERE c.external_id = ANY (:keys)
        -- a transaction whose number was taken away has no key any more by which to find it
        OR (c.external_id IS NULL AND c.deprecated))
UPDATE financial.transaction t
   SET migrated_to_order_id = linked.order_id,
       deprecated = linked.order_id IS NOT NULL
  FROM linked
 WHERE t.id = linked.id
   AND (t.migrated_to_order_id, t.deprecated) IS DISTINCT FROM (linked.order_id, linked.order_id IS NOT NULL)
