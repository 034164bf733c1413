-- A difference may be a row of others, which no repair writes: somebody decides about it.
ALTER TABLE cutover.difference ADD COLUMN others boolean NOT NULL DEFAULT false;
ALTER TABLE cutover.proof ADD COLUMN unlisted_others bigint NOT NULL DEFAULT 0;
