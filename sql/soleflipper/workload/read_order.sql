SELECT c.* FROM financial.transaction t JOIN sales.order_current c ON c.external_id = t.external_id WHERE t.id = :key
