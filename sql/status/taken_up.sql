-- The moves that were healed within thirty seconds, while a consumer of the plan lives (classid: `consumers.lease`): it takes
-- their partitions up again by itself, one after the other. Parameter: plan.
SELECT DISTINCT e.move FROM cutover.event e
 WHERE e.plan = %(plan)s AND e.what = 'heal' AND e.move IS NOT NULL
   AND clock_timestamp() < e.at + interval '30 s'
   AND EXISTS (SELECT FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 1668641904
                  AND l.objid = (hashtext(%(plan)s)::bigint & 4294967295)::oid
                  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
