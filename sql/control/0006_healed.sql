-- Each gap that was healed begins another chapter of the log: what stands before it and what follows are not one history.
ALTER TABLE cutover.plan ADD COLUMN healed int NOT NULL DEFAULT 0;  -- gaps so far
