-- Does a view read none but the tables that bear these names now? It goes on reading one that was renamed.
SELECT NOT EXISTS (
    SELECT FROM pg_catalog.pg_rewrite r
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
                                 AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
     WHERE r.ev_class = to_regclass(%(view)s)
       AND d.refobjid <> ALL (SELECT to_regclass(n) FROM unnest(%(tables)s::text[]) n WHERE to_regclass(n) IS NOT NULL))
