-- One column of one fragment changes: the commonest write.
UPDATE inventory.stock_financial t
   SET sale_price = round((40 + random() * 400)::numeric, 2),
       fees = jsonb_build_object('platform', round((random() * 30)::numeric, 2), 'vat', :number::int % 2 = 0),
       updated_at = clock_timestamp() AT TIME ZONE 'UTC'
 WHERE t.stock_id = :key
RETURNING 'financial' AS kind, t.id, to_jsonb(t) AS row;
