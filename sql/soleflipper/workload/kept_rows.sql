SELECT 'kept' AS kind, t.id, to_jsonb(t) AS row FROM sales."order" t WHERE t.id = ANY (:keys::uuid[])
