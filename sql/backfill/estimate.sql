-- About how many rows the largest source has now: of each of its files as many a page as when it was last analyzed.
-- 0 where none was. Parameter: the sources (oid[]).
SELECT coalesce(max(source.rows), 0)::bigint
  FROM (SELECT s.oid, sum(CASE WHEN c.relpages > 0 THEN greatest(c.reltuples, 0)::float8 / c.relpages
                                    * (pg_relation_size(c.oid) / current_setting('block_size')::int) END) AS rows
          FROM unnest(%s::oid[]) s (oid)
         CROSS JOIN LATERAL (SELECT s.oid UNION SELECT p.relid::oid FROM pg_partition_tree(s.oid) p WHERE p.isleaf) t (oid)
          JOIN pg_catalog.pg_class c ON c.oid = t.oid
         GROUP BY s.oid) source
