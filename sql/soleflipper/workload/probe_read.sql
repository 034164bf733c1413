SELECT true FROM inventory.stock WHERE id = :key AND state_changed_by = :new
