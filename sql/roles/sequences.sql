-- The sequences that defaults of these tables call nextval() on; identity columns need no right of their own.
SELECT DISTINCT namespace.nspname, sequence.relname
  FROM pg_catalog.pg_attrdef def
  JOIN pg_catalog.pg_depend used ON used.classid = 'pg_catalog.pg_attrdef'::regclass AND used.objid = def.oid
   AND used.refclassid = 'pg_catalog.pg_class'::regclass
  JOIN pg_catalog.pg_class sequence ON sequence.oid = used.refobjid AND sequence.relkind = 'S'
  JOIN pg_catalog.pg_namespace namespace ON namespace.oid = sequence.relnamespace
 WHERE def.adrelid = ANY (%(tables)s::oid[])
