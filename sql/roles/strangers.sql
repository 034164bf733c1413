-- What roles other than the owner and the service's own have been given on relations of the control schema, by whatever
-- default privileges. A facade or a target that a plan put there is the application's, and whoever owns a facade reads the
-- mapping for its readers. Parameters: parts.
WITH theirs AS (
    SELECT parse_ident(name) AS name FROM cutover.move, unnest(ARRAY[move.target, move.facade]) name WHERE name IS NOT NULL
), ours AS (
    SELECT format('cutover_%%s_%%s', plan.plan, part) AS name FROM cutover.plan, unnest(%(parts)s::text[]) part
), owners AS (
    SELECT class.relowner AS role
      FROM cutover.move
      JOIN pg_catalog.pg_namespace schema ON schema.nspname = (parse_ident(move.facade))[1]
      JOIN pg_catalog.pg_class class ON class.relnamespace = schema.oid AND class.relname = (parse_ident(move.facade))[2]
), given AS (
    SELECT class.relname, class.relkind, acl.grantee
      FROM pg_catalog.pg_class class
     CROSS JOIN LATERAL (
               SELECT * FROM aclexplode(class.relacl)
               UNION ALL
               SELECT column_acl.*
                 FROM pg_catalog.pg_attribute attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) column_acl
                WHERE attribute.attrelid = class.oid AND NOT attribute.attisdropped) acl
     WHERE class.relnamespace = 'cutover'::regnamespace
       AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND acl.grantor = class.relowner AND acl.grantee <> class.relowner  -- CASCADE takes what others passed on
       AND pg_has_role(class.relowner, 'USAGE')
       AND NOT (acl.grantee IN (SELECT owners.role FROM owners)
                AND (class.relkind = 'v' OR starts_with(class.relname, 'owned_')))
       AND ARRAY['cutover', class.relname]::text[] NOT IN (SELECT theirs.name FROM theirs)
)
SELECT CASE given.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, role.rolname,
       array_agg(DISTINCT given.relname::text ORDER BY given.relname::text)
  FROM given
  LEFT JOIN pg_catalog.pg_roles role ON role.oid = given.grantee
 WHERE (given.grantee = 0 OR role.rolname IS NOT NULL)
   AND coalesce(role.rolname::text, '') NOT IN (SELECT ours.name FROM ours)
 GROUP BY 1, 2
 ORDER BY 1 DESC, 2 NULLS FIRST
