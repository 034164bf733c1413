SELECT * FROM inventory.stock_current WHERE id = :key
