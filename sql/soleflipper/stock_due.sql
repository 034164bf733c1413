-- Stock items with a reservation that ran out in the window of a refresh, whose ends are timestamptz.
SELECT DISTINCT r.stock_id
  FROM inventory.stock_reservation r
 WHERE r.status = 'active'
   AND r.expires_at > (:since AT TIME ZONE 'UTC')
   AND r.expires_at <= (:until AT TIME ZONE 'UTC')
