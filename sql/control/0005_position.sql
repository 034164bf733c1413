-- How far the service itself has applied each partition: a position that somebody set beyond it would skip records.
ALTER TABLE cutover.position ADD COLUMN applied_offset bigint NOT NULL DEFAULT 0;
UPDATE cutover.position SET applied_offset = "offset";
