-- A view's SELECT as PostgreSQL prints it, where it is the mapping of that mark. With search_path = pg_catalog, every other name in it is qualified.
SELECT c.oid::int8, pg_catalog.pg_get_viewdef(c.oid)
  FROM pg_catalog.pg_class c WHERE c.oid = to_regclass(%(view)s) AND c.relkind = 'v' AND pg_catalog.obj_description(c.oid, 'pg_class') = %(mark)s
