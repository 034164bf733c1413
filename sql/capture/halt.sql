-- A cause that heal has accepted does not halt again: neither when capture reads the same WAL once more, nor when a
-- consumer tells of it that slept through the heal (consume/begin), and may have seen what is no more.
WITH halted AS (
    UPDATE cutover.move
       SET halted = CASE WHEN halted IS NULL THEN %(why)s::text ELSE halted || '; ' || %(why)s::text END,
           halted_lsn = greatest(halted_lsn, %(lsn)s::pg_lsn)
     WHERE plan = %(plan)s AND move = %(move)s
       AND (healed_lsn IS NULL OR %(lsn)s::pg_lsn > healed_lsn OR %(lsn)s::pg_lsn = '0/0')
       AND (%(lsn)s::pg_lsn <> '0/0' OR coalesce(current_setting('cutover.healed', true), '') = ''
            OR current_setting('cutover.healed')::jsonb ->> move IS NOT DISTINCT FROM touched_until::text)
       AND (halted IS NULL OR position(%(why)s::text IN halted) = 0)
    RETURNING plan, move)
INSERT INTO cutover.event (plan, move, what, detail)
SELECT plan, move, 'halt', jsonb_build_object('why', %(why)s::text) FROM halted
