-- The functions that a view calls, by name or behind its operators and casts, with what matters of each.
SELECT DISTINCT p.proname, p.provolatile::text, p.proretset, l.lanname IN ('internal', 'c') AS native
  FROM pg_catalog.pg_rewrite r
  CROSS JOIN LATERAL regexp_matches(r.ev_action::text,
                                    ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS found (groups)
  JOIN pg_catalog.pg_proc p ON p.oid = found.groups[1]::oid
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE r.ev_class = %(view)s::oid
 ORDER BY 1
