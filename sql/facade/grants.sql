-- Who may SELECT from a relation: on all of it (column NULL), or on one of its columns. Role 0 is PUBLIC.
WITH target AS (
    SELECT class.oid, class.relacl, class.relowner FROM pg_catalog.pg_class class WHERE class.oid = to_regclass(%(relation)s)
), granted AS (
    SELECT NULL::text AS column, acl.grantee, acl.is_grantable
      FROM target CROSS JOIN LATERAL aclexplode(coalesce(target.relacl, acldefault('r', target.relowner))) acl
     WHERE acl.privilege_type = 'SELECT'
    UNION ALL
    SELECT NULL, target.relowner, true FROM target
    UNION ALL
    SELECT attribute.attname, acl.grantee, acl.is_grantable
      FROM target
      JOIN pg_catalog.pg_attribute attribute ON attribute.attrelid = target.oid AND attribute.attnum > 0
     CROSS JOIN LATERAL aclexplode(attribute.attacl) acl
     WHERE acl.privilege_type = 'SELECT'
)
SELECT granted.column, CASE WHEN granted.grantee <> 0 THEN role.rolname END, bool_or(granted.is_grantable)
  FROM granted
  LEFT JOIN pg_catalog.pg_roles role ON role.oid = granted.grantee
 WHERE granted.grantee = 0 OR role.rolname IS NOT NULL
 GROUP BY granted.column, granted.grantee, role.rolname
 ORDER BY 1 NULLS FIRST, 2 NULLS FIRST
