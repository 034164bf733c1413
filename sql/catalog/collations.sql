SELECT oid::int8 FROM pg_catalog.pg_collation WHERE NOT collisdeterministic AND oid = ANY (%(oids)s::oid[])
