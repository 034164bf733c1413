-- Moves whose backfill a heal started anew and nobody has finished.
SELECT b.move FROM cutover.backfill b
 WHERE b.plan = %(plan)s AND b.finished_at IS NULL
   AND EXISTS (SELECT FROM cutover.event e
                WHERE e.plan = b.plan AND e.move = b.move AND e.what = 'heal' AND e.at >= b.started_at)
 ORDER BY b.move
