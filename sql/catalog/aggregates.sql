SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE prokind = 'a'
