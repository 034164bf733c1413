-- What this role may do with each table, and whether row security hides rows of it.
SELECT wanted.name,
       pg_has_role(class.relowner, 'USAGE'),
       has_table_privilege(class.oid, 'SELECT'),
       has_table_privilege(class.oid, 'INSERT') AND has_table_privilege(class.oid, 'UPDATE')
           AND has_table_privilege(class.oid, 'DELETE'),
       class.relrowsecurity,
       class.relpersistence = 'p' AND class.relkind IN ('r', 'p')
  FROM unnest(%(tables)s::text[]) AS wanted (name)
  JOIN pg_catalog.pg_class class ON class.oid = to_regclass(wanted.name)
