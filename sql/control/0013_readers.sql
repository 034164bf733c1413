-- The facade on either side, as prepare made it (sql/facade.py): the way back depends on no file of the plan.
ALTER TABLE cutover.move ADD COLUMN facade_forms jsonb;

-- Applications wait for their own writes (S10) and read through facades with no other right than SELECT on those. Tables of
-- this schema stay closed to them. (No name is looked up in pg_temp first, where the caller can make some.)
ALTER FUNCTION cutover.wait_for(pg_lsn, text, text, interval) SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
GRANT USAGE ON SCHEMA cutover TO PUBLIC;

-- Only canaries that an older version made still ask it.
ALTER FUNCTION cutover.reads_consolidated(text, text) SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
