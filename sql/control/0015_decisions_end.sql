-- A decision to leave a key as it is ends once and for all: it does not come back when both sides do.
ALTER TABLE cutover.accepted ADD COLUMN ended_at timestamptz;
CREATE INDEX accepted_standing ON cutover.accepted (plan, move, key) WHERE decision = 'consolidated' AND ended_at IS NULL;

-- Consumers ask with each batch whether there are letters that it may have to close.
CREATE INDEX dead_letter_unresolved ON cutover.dead_letter (plan, move) WHERE state <> 'resolved';
