-- What happens by itself when a table or a partition of it is written: triggers, cascades from it and into it, rules.
WITH family AS (
    SELECT %(table)s::oid AS oid
    UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(%(table)s::oid::regclass) t)
SELECT CASE WHEN t.tgtype::int & 2 > 0 THEN 'before' ELSE 'after' END,
       pg_catalog.quote_ident(t.tgname), t.tgrelid::regclass::text, t.tgfoid::regproc::text,
       t.tgtype::int & 4 > 0, t.tgtype::int & 16 > 0, t.tgtype::int & 8 > 0
  FROM family JOIN pg_catalog.pg_trigger t ON t.tgrelid = family.oid
 WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('O', 'A') AND t.tgtype::int & 28 > 0
       -- One that asks who writes has thought of us.
   AND pg_catalog.pg_get_triggerdef(t.oid) !~ 'cutover'
UNION ALL
SELECT 'from', pg_catalog.quote_ident(c.conname), c.conrelid::regclass::text, '', false, false, true
  FROM family JOIN pg_catalog.pg_constraint c ON c.confrelid = family.oid
 WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confdeltype IN ('c', 'n', 'd') AND c.conrelid <> c.confrelid
UNION ALL
SELECT 'into', pg_catalog.quote_ident(c.conname), c.confrelid::regclass::text, '', false,
       c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('n', 'd'), c.confdeltype = 'c'
  FROM family JOIN pg_catalog.pg_constraint c ON c.conrelid = family.oid
 WHERE c.contype = 'f' AND c.conparentid = 0 AND c.conrelid <> c.confrelid
   AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))
UNION ALL
SELECT 'rule', pg_catalog.quote_ident(r.rulename), r.ev_class::regclass::text, '', r.ev_type = '3', r.ev_type = '2', r.ev_type = '4'
  FROM family JOIN pg_catalog.pg_rewrite r ON r.ev_class = family.oid
 WHERE r.ev_type IN ('2', '3', '4') AND r.ev_enabled IN ('O', 'A')
 ORDER BY 1, 3, 2
