SELECT *
  FROM sales.order_current
 WHERE external_id = (SELECT t.external_id FROM financial.transaction t WHERE t.id = :key)
