-- Of which part of a move a run was, and how many keys it found to differ as somebody has accepted, and how many drift
-- that are rows of others; and which invariants did not hold (text[]). Parameter: run.
SELECT CASE WHEN run.document #>> '{scope,sample,seed}' IS NOT NULL THEN 'a sample'
            WHEN run.document #>> '{scope,keys}' IS NOT NULL OR run.document #>> '{scope,where}' IS NOT NULL THEN 'of some keys'
            ELSE 'of some columns' END,
       coalesce((run.document #>> '{rows,accepted}')::bigint, 0),
       coalesce((run.document ->> 'conflicts')::bigint, 0), coalesce((run.document #>> '{rows,drift}')::bigint, 0),
       ARRAY(SELECT i ->> 'name' FROM jsonb_path_query(run.document, '$.invariants[*]') i WHERE i ->> 'holds' = 'false')
  FROM cutover.reconcile_run run WHERE run.id = %(run)s
