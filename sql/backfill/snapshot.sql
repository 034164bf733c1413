-- What this transaction's snapshot sees, an LSN that no commit it sees lies beyond, and the time since 2000 in microseconds.
SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text,
       (extract(epoch FROM clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::int8
