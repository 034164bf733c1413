SELECT 'sale' AS kind, t.id, to_jsonb(t) AS row FROM financial.transaction t WHERE t.id = ANY (:keys::uuid[])
