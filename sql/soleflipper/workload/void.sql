DELETE FROM financial.transaction t WHERE t.id = :key RETURNING 'sale' AS kind, t.id, to_jsonb(t) AS row;
