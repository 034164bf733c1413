-- A cause that heal has accepted does not halt again when capture reads the same WAL once more.
UPDATE cutover.move
   SET halted = CASE WHEN halted IS NULL OR halted = %(why)s THEN %(why)s ELSE halted || '; ' || %(why)s END,
       halted_lsn = greatest(halted_lsn, %(lsn)s::pg_lsn)
 WHERE plan = %(plan)s AND move = %(move)s
   AND (healed_lsn IS NULL OR %(lsn)s::pg_lsn > healed_lsn OR %(lsn)s::pg_lsn = '0/0')
   AND (halted IS NULL OR position(%(why)s IN halted) = 0)
