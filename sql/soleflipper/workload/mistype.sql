-- Back and forth between a number written the canonical way and one that is not.
UPDATE financial.transaction t
   SET external_id = CASE WHEN t.external_id = upper(t.external_id) THEN lower(t.external_id)
                          ELSE upper(t.external_id) END
 WHERE t.id = :key
RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
