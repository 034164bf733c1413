-- The types of a rebuilt table's columns, as SQL; NULL for one that is gone from this database.
SELECT CASE WHEN t.oid IS NOT NULL THEN pg_catalog.format_type(given.type, given.typmod) END
  FROM unnest(%(types)s::int8[], %(typmods)s::int4[]) WITH ORDINALITY given (type, typmod, at)
  LEFT JOIN pg_catalog.pg_type t ON t.oid = given.type
 ORDER BY given.at
