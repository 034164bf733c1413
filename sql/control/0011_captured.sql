-- Does somebody capture a plan? Who streams has its slot; who reads a backlog has a lock in the slot's place (C13). NULL
-- where neither is there.
CREATE FUNCTION cutover.captured(of_plan text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
                      AND ((l.classid::bigint << 32) | l.objid::bigint)
                          = hashtextextended('cutover.backlog.' || of_plan, 0))
        OR (SELECT s.active FROM cutover.plan p JOIN pg_replication_slots s ON s.slot_name = p.slot
             WHERE p.plan = of_plan AND s.database = current_database())
$$;
