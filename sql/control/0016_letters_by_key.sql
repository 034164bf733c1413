-- Consumers look for the letters of a batch's own keys: what thousands of others cost must not slow every batch down.
DROP INDEX cutover.dead_letter_unresolved;
CREATE INDEX dead_letter_unresolved ON cutover.dead_letter (plan, move, key) WHERE state <> 'resolved';
