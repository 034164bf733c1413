-- A difference may stand no more because somebody has decided to leave the key as it is: it has not become equal.
ALTER TABLE cutover.difference ADD COLUMN accepted boolean NOT NULL DEFAULT false;
