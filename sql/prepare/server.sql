-- What the server and this role allow.
SELECT current_setting('server_version_num')::int,
       current_setting('wal_level'),
       pg_is_in_recovery(),
       current_setting('max_replication_slots')::int
           - (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> %(slot)s)::int,
       (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name = %(slot)s)::int,
       role.rolsuper OR role.rolreplication
           OR EXISTS (SELECT FROM pg_catalog.pg_roles managed
                       WHERE managed.rolname IN ('rds_replication', 'azure_pg_admin', 'cloudsqlsuperuser')
                         AND pg_has_role(current_user, managed.oid, 'MEMBER')),
       has_database_privilege(current_database(), 'CREATE'),
       current_user::text,
       current_setting('server_encoding')
  FROM pg_catalog.pg_roles role
 WHERE role.rolname = current_user
