-- The moves of a plan: where their reads are to be, the recorded facade, and the side that the one which is installed says
-- that it is on (NULL: it is not there, or an older version made it, or it is not the move's). One snapshot of all.
SELECT move.move, move.target, move.state, move.side, move.percent, move.facade_forms,
       (SELECT substring(pg_catalog.obj_description(class.oid, 'pg_class') FROM ', percent ([0-9]+)$')::int
          FROM pg_catalog.pg_class class
          JOIN pg_catalog.pg_namespace schema ON schema.oid = class.relnamespace
         WHERE ARRAY[schema.nspname, class.relname]::text[]
               = parse_ident(coalesce(move.facade_forms ->> 'name', move.facade))
           AND starts_with(pg_catalog.obj_description(class.oid, 'pg_class'),
                           format('cutover: facade of %%s.%%s, ', move.plan, move.move)))
  FROM cutover.move move
 WHERE move.plan = %(plan)s
