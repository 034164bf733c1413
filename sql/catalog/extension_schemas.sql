-- The schemas that CREATE EXTENSION makes where they are not there: those that its control file and the control files of what
-- it requires name. Parameters: name, version (NULL: the default one).
WITH RECURSIVE made AS (
  SELECT v.schema, v.requires
    FROM pg_catalog.pg_available_extensions e JOIN pg_catalog.pg_available_extension_versions v USING (name)
   WHERE e.name = %(name)s AND v.version = coalesce(%(version)s::text, e.default_version)
  UNION
  SELECT v.schema, v.requires
    FROM made CROSS JOIN unnest(made.requires) required
    JOIN pg_catalog.pg_available_extensions e ON e.name = required
    JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
)
SELECT schema::text FROM made WHERE schema IS NOT NULL
