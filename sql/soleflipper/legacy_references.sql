-- The foreign keys and secondary indexes of the tables of legacy.sql, for when they have been filled.
ALTER TABLE catalog.category
    ADD FOREIGN KEY (parent_id) REFERENCES catalog.category (id);
ALTER TABLE catalog.brand_patterns
    ADD FOREIGN KEY (brand_id) REFERENCES catalog.brand (id);
ALTER TABLE catalog.sizes
    ADD FOREIGN KEY (category_id) REFERENCES catalog.category (id);
ALTER TABLE catalog.size_master
    ADD FOREIGN KEY (category_id) REFERENCES catalog.category (id);
ALTER TABLE catalog.size_conversion
    ADD FOREIGN KEY (from_size_id) REFERENCES catalog.sizes (id),
    ADD FOREIGN KEY (to_size_id) REFERENCES catalog.sizes (id);
ALTER TABLE catalog.product
    ADD FOREIGN KEY (brand_id) REFERENCES catalog.brand (id),
    ADD FOREIGN KEY (category_id) REFERENCES catalog.category (id);
ALTER TABLE catalog.product_variant
    ADD FOREIGN KEY (product_id) REFERENCES catalog.product (id),
    ADD FOREIGN KEY (size_id) REFERENCES catalog.sizes (id);
ALTER TABLE inventory.stock
    ADD FOREIGN KEY (product_id) REFERENCES catalog.product (id),
    ADD FOREIGN KEY (size_id) REFERENCES catalog.sizes (id),
    ADD FOREIGN KEY (supplier_id) REFERENCES supplier.account (id);
ALTER TABLE inventory.stock_financial
    ADD FOREIGN KEY (stock_id) REFERENCES inventory.stock (id) ON DELETE CASCADE;
ALTER TABLE inventory.stock_lifecycle
    ADD FOREIGN KEY (stock_id) REFERENCES inventory.stock (id) ON DELETE CASCADE;
ALTER TABLE inventory.stock_metrics
    ADD FOREIGN KEY (stock_id) REFERENCES inventory.stock (id) ON DELETE CASCADE;
ALTER TABLE inventory.stock_reservation
    ADD FOREIGN KEY (stock_id) REFERENCES inventory.stock (id) ON DELETE CASCADE;
ALTER TABLE sales.listing
    ADD FOREIGN KEY (inventory_item_id) REFERENCES inventory.stock (id),
    ADD FOREIGN KEY (platform_id) REFERENCES platform.marketplace (id);
ALTER TABLE sales."order"
    ADD FOREIGN KEY (inventory_item_id) REFERENCES inventory.stock (id),
    ADD FOREIGN KEY (platform_id) REFERENCES platform.marketplace (id);
ALTER TABLE financial.transaction
    ADD FOREIGN KEY (inventory_item_id) REFERENCES inventory.stock (id),
    ADD FOREIGN KEY (platform_id) REFERENCES platform.marketplace (id);
ALTER TABLE sales.pricing_history
    ADD FOREIGN KEY (listing_id) REFERENCES sales.listing (id);
ALTER TABLE pricing.price_history
    ADD FOREIGN KEY (product_id) REFERENCES catalog.product (id),
    ADD FOREIGN KEY (inventory_item_id) REFERENCES inventory.stock (id),
    ADD FOREIGN KEY (platform_id) REFERENCES platform.marketplace (id);
ALTER TABLE analytics.marketplace_data
    ADD FOREIGN KEY (inventory_item_id) REFERENCES inventory.stock (id),
    ADD FOREIGN KEY (platform_id) REFERENCES platform.marketplace (id);
ALTER TABLE analytics.sales_forecasts
    ADD FOREIGN KEY (product_id) REFERENCES catalog.product (id);

CREATE INDEX ix_stock_reservation_stock_id ON inventory.stock_reservation (stock_id);
CREATE INDEX ix_stock_reservation_expires_at ON inventory.stock_reservation (expires_at) WHERE status = 'active';
CREATE INDEX ix_transaction_external_id ON financial.transaction (external_id);

ANALYZE inventory.stock, inventory.stock_financial, inventory.stock_lifecycle, inventory.stock_metrics,
        inventory.stock_reservation, financial.transaction, sales."order";
