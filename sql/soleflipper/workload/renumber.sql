-- The key of the move itself changes; sometimes the number gets lost.
UPDATE financial.transaction t
   SET external_id = CASE WHEN random() < 0.8 THEN 'NEW-' || :writer::text || '-' || :number::text END
 WHERE t.id = :key
RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
