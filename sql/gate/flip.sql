-- The move's row of a flip. What the gate saw a moment ago must still hold when the new side is to be read by more, and the
-- facade be the one that was recorded when this flip began. Returns the transaction, which tells afterwards whether it was done.
UPDATE cutover.move move
   SET side = %(side)s, percent = %(percent)s
 WHERE move.plan = %(plan)s AND move.move = %(move)s
   AND move.percent = %(before)s
   AND move.facade_forms IS NOT DISTINCT FROM %(forms)s::jsonb
   AND move.state NOT IN ('taken-over', 'completed')
   AND (NOT %(gated)s
        OR move.halted IS NULL
           AND NOT EXISTS (SELECT FROM cutover.plan plan WHERE plan.plan = move.plan AND plan.gap IS NOT NULL)
           AND NOT EXISTS (SELECT FROM cutover.dead_letter letter
                            WHERE letter.plan = move.plan AND letter.move = move.move AND letter.state = 'open')
           AND cutover.storage(%(tables)s) = %(storage)s::jsonb)
RETURNING pg_current_xact_id()::text
