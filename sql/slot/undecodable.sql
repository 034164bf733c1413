-- Was the publication made, or changed, where the slot may not have read yet? What was written before it was there cannot
-- be decoded (PostgreSQL ends with an error, or from 18 on leaves it out): its row is looked up as it was then. Parameters:
-- publication, slot.
SELECT age(p.xmin) <= age(s.catalog_xmin)
  FROM pg_catalog.pg_publication p, pg_catalog.pg_replication_slots s
 WHERE p.pubname = %s AND s.slot_name = %s
