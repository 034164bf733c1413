-- Have these tables no row, and never had one since they were made or truncated?
SELECT bool_and(c.relkind = 'p' OR pg_catalog.pg_relation_size(c.oid) = 0)
  FROM unnest(%(tables)s::oid[]) AS t (oid) JOIN pg_catalog.pg_class c ON c.oid = t.oid
