INSERT INTO inventory.stock_reservation AS t (stock_id, reserved_qty, reserved_by, expires_at)
SELECT s.id, 1 + floor(random() * 3)::int, gen_random_uuid(),
       CASE WHEN random() < 0.8 THEN clock_timestamp() AT TIME ZONE 'UTC' + interval '1 hour' END
  FROM inventory.stock s
 WHERE s.id = :key
RETURNING 'reservation' AS kind, t.id, to_jsonb(t) AS row;
