-- A discarded dead letter is a decision too: the key stays as it is in the target, by name and with a reason. A side may
-- have no row.
ALTER TABLE cutover.accepted ALTER COLUMN legacy DROP NOT NULL,
                             ALTER COLUMN consolidated DROP NOT NULL,
                             ALTER COLUMN review DROP NOT NULL,
                             ADD COLUMN dead_letter bigint REFERENCES cutover.dead_letter ON DELETE CASCADE,
                             ADD COLUMN reason text,
                             ADD CHECK (num_nonnulls(review, dead_letter) = 1);

-- Keys that the latest run over all found to differ, as somebody has accepted.
ALTER TABLE cutover.proof ADD COLUMN accepted bigint NOT NULL DEFAULT 0;
