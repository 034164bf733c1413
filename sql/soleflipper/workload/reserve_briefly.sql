-- Runs out by itself within two seconds: no write says so, only the clock.
INSERT INTO inventory.stock_reservation AS t (stock_id, reserved_qty, reserved_by, expires_at)
SELECT s.id, 1, gen_random_uuid(), clock_timestamp() AT TIME ZONE 'UTC' + random() * interval '2 seconds'
  FROM inventory.stock s
 WHERE s.id = :key
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
