-- One run of one move, as it is printed.
INSERT INTO cutover.reconcile_run (plan, move, digest, verdict, snapshot_lsn, applied_lsn, exact, document, started_at,
                                   storage)
VALUES (%(plan)s, %(move)s, %(digest)s, %(verdict)s, %(snapshot_lsn)s, %(applied_lsn)s, %(exact)s, %(document)s::jsonb,
        %(started_at)s, %(storage)s::jsonb)
