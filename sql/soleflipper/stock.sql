-- One row per stock item: its own columns, its three one-to-one fragments, and what is reserved of it now.
-- The fragments' ids come along, so that "no row" and "a row of NULLs" stay different things.
SELECT s.id,
       s.product_id,
       s.size_id,
       s.supplier_id,
       s.quantity,
       s.status,
       s.purchase_date,
       s.listed_stockx,
       s.location,
       s.notes,
       s.version,
       s.created_at,
       s.updated_at,
       f.id AS financial_id,
       f.purchase_price,
       f.sale_price,
       f.currency,
       f.fees,
       f.updated_at AS financial_updated_at,
       l.id AS lifecycle_id,
       l.status AS lifecycle_status,
       l.previous_status AS previous_lifecycle_status,
       l.changed_at AS state_changed_at,
       l.changed_by AS state_changed_by,
       m.id AS metrics_id,
       m.roi,
       m.profit_margin,
       m.days_in_stock,
       m.last_price_check,
       m.updated_at AS metrics_updated_at,
       r.reserved_qty,
       r.reserved_by,
       r.reservation_expires
  FROM inventory.stock s
  LEFT JOIN inventory.stock_financial f ON f.stock_id = s.id
  LEFT JOIN inventory.stock_lifecycle l ON l.stock_id = s.id
  LEFT JOIN inventory.stock_metrics m ON m.stock_id = s.id
  LEFT JOIN LATERAL (
       -- Active reservations only. The holder shown is the one who holds on longest, and reservation_expires is
       -- when nothing is reserved any more; a reservation without an end (NULL) outlasts all others.
       SELECT coalesce(sum(a.reserved_qty), 0)::int AS reserved_qty,
              (array_agg(a.reserved_by ORDER BY a.expires_at DESC NULLS FIRST, a.id))[1] AS reserved_by,
              (array_agg(a.expires_at ORDER BY a.expires_at DESC NULLS FIRST, a.id))[1] AS reservation_expires
         FROM inventory.stock_reservation a
        WHERE a.stock_id = s.id
          AND a.status = 'active'
          -- expires_at has no time zone and the application writes UTC, so the clock is read as UTC as well;
          -- a bare now() would follow the TimeZone of whoever reads.
          AND (a.expires_at IS NULL OR a.expires_at > (now() AT TIME ZONE 'UTC'))
       ) r ON true
