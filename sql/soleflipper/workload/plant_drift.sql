UPDATE inventory.stock SET purchase_price = coalesce(purchase_price, 0) + 0.01 WHERE id = :key
