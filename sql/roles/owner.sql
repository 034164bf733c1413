-- Who owns a relation, and which of these roles this session may act as. Parameters: relation, role.
SELECT pg_catalog.pg_get_userbyid(class.relowner)::text, pg_has_role(%(role)s::name, 'USAGE')
  FROM pg_catalog.pg_class class WHERE class.oid = to_regclass(%(relation)s)
