-- Every right that a role has been given on objects of this database, itself. Parameters: role.
WITH wanted AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %(role)s)
SELECT CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, namespace.nspname AS schema,
       class.relname AS object, acl.privilege_type AS privilege, NULL AS "column"
  FROM pg_catalog.pg_class class
  JOIN pg_catalog.pg_namespace namespace ON namespace.oid = class.relnamespace
 CROSS JOIN LATERAL aclexplode(class.relacl) acl
  JOIN wanted ON wanted.oid = acl.grantee
 WHERE class.relowner <> wanted.oid
UNION ALL
SELECT 'TABLE', namespace.nspname, class.relname, acl.privilege_type, attribute.attname
  FROM pg_catalog.pg_attribute attribute
  JOIN pg_catalog.pg_class class ON class.oid = attribute.attrelid
  JOIN pg_catalog.pg_namespace namespace ON namespace.oid = class.relnamespace
 CROSS JOIN LATERAL aclexplode(attribute.attacl) acl
  JOIN wanted ON wanted.oid = acl.grantee
 WHERE NOT attribute.attisdropped
UNION ALL
SELECT 'SCHEMA', NULL, namespace.nspname, acl.privilege_type, NULL
  FROM pg_catalog.pg_namespace namespace
 CROSS JOIN LATERAL aclexplode(namespace.nspacl) acl
  JOIN wanted ON wanted.oid = acl.grantee
UNION ALL
SELECT 'DATABASE', NULL, database.datname, acl.privilege_type, NULL
  FROM pg_catalog.pg_database database
 CROSS JOIN LATERAL aclexplode(database.datacl) acl
  JOIN wanted ON wanted.oid = acl.grantee
 WHERE database.datname = current_database()
