-- Is the facade recorded in these forms, and has the view these columns still? Anybody may have renamed one. And the side
-- on which it has to be.
SELECT move.facade_forms IS NOT DISTINCT FROM %(forms)s
       AND %(columns)s::text[] = ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
                                        WHERE attrelid = to_regclass(%(facade)s) AND attnum > 0 ORDER BY attnum),
       move.percent
  FROM cutover.move move
 WHERE move.plan = %(plan)s AND move.move = %(move)s
