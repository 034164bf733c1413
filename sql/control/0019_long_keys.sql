-- A key may be longer than what fits into an index (2,704 bytes): it is indexed by its hash, of 128 bits. Elsewhere in the
-- control schema keys are compared whole.
DROP INDEX cutover.dead_letter_open;
CREATE UNIQUE INDEX dead_letter_open ON cutover.dead_letter
    (plan, move, hash_array_extended(key, 0), hash_array_extended(key, 1)) WHERE state = 'open';
DROP INDEX cutover.dead_letter_unresolved;
CREATE INDEX dead_letter_unresolved ON cutover.dead_letter (plan, move, hash_array_extended(key, 0)) WHERE state <> 'resolved';
DROP INDEX cutover.difference_standing;
CREATE UNIQUE INDEX difference_standing ON cutover.difference
    (plan, move, hash_array_extended(key, 0), hash_array_extended(key, 1)) WHERE gone_at IS NULL;
ALTER TABLE cutover.accepted DROP CONSTRAINT accepted_pkey;
CREATE UNIQUE INDEX accepted_key ON cutover.accepted (plan, move, hash_array_extended(key, 0), hash_array_extended(key, 1));
DROP INDEX cutover.accepted_standing;
CREATE INDEX accepted_standing ON cutover.accepted (plan, move, hash_array_extended(key, 0))
 WHERE decision = 'consolidated' AND ended_at IS NULL;
