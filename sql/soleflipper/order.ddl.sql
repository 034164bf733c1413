-- The link back, on the legacy ledger. A new row is not migrated, so deprecated starts as false.
ALTER TABLE financial.transaction
    ADD COLUMN IF NOT EXISTS migrated_to_order_id uuid,
    ADD COLUMN IF NOT EXISTS deprecated boolean NOT NULL DEFAULT false;

-- Finds the few transactions that lost their order number after they had been migrated (order_annotate.sql).
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_transaction_lost_number
    ON financial.transaction (id) WHERE external_id IS NULL AND deprecated;
