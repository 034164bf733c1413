-- Stock items of one writer, whose reservations do not run out while anybody looks.
SELECT s.id
  FROM inventory.stock s
 WHERE abs(hashtextextended(s.id::text, 0) % :writers) = :writer
   AND NOT EXISTS (
       SELECT FROM inventory.stock_reservation r
        WHERE r.stock_id = s.id
          AND r.status = 'active'
          AND r.expires_at BETWEEN (now() AT TIME ZONE 'UTC') - interval '1 minute'
                               AND (now() AT TIME ZONE 'UTC') + interval '15 minutes')
 ORDER BY s.id
 LIMIT :limit
