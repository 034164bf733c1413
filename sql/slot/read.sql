-- A slot whole, whatever columns this version of PostgreSQL has, and how far behind it is.
SELECT to_jsonb(slot)
       || jsonb_build_object(
            'here', current_database(),
            'lag_bytes', CASE WHEN NOT pg_is_in_recovery()
                              THEN greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), slot.confirmed_flush_lsn))::bigint END)
  FROM pg_catalog.pg_replication_slots slot
 WHERE slot.slot_name = %s
