-- The columns of a move's key, in order: what the keys in its log mean. NULL: prepared before this, and not since.
ALTER TABLE cutover.move ADD COLUMN key text[];
