-- Operators and functions are the server's: a search path that names pg_catalog behind other schemas is taken without
-- it, which puts it first again. A commit that others act on is one that a crash does not undo.
SELECT CASE WHEN %(durable)s AND pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'
            THEN pg_catalog.set_config('synchronous_commit', 'local', false) END,
       CASE WHEN 'pg_catalog' OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false))
            THEN pg_catalog.set_config('search_path',
                     coalesce((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.name), ', ' ORDER BY s.at)
                                 FROM ROWS FROM (pg_catalog.unnest(pg_catalog.current_schemas(false)))
                                      WITH ORDINALITY AS s (name, at)
                                WHERE s.name OPERATOR(pg_catalog.<>) 'pg_catalog'), ''), false) END
