-- With whose rights the facade reads, and the columns of the target that this role may not read.
SELECT role.rolname,
       ARRAY(SELECT wanted.name FROM unnest(%(columns)s::text[]) WITH ORDINALITY wanted (name, at)
              WHERE NOT has_column_privilege(role.oid, to_regclass(%(target)s), wanted.name, 'SELECT') ORDER BY wanted.at)
  FROM pg_catalog.pg_class facade
  JOIN pg_catalog.pg_roles role ON role.oid = facade.relowner
 WHERE facade.oid = to_regclass(%(facade)s)
