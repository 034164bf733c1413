-- max_slot_wal_keep_size in bytes; NULL: unlimited.
SELECT CASE WHEN setting::bigint < 0 THEN NULL ELSE setting::bigint * 1024 * 1024 END
  FROM pg_settings WHERE name = 'max_slot_wal_keep_size'
