-- Has every key to be touched again because of a partition, and are they not all?
SELECT EXISTS (SELECT FROM cutover.backfill b
                WHERE b.plan = %(plan)s AND b.move = %(move)s AND b.finished_at IS NULL AND b.unasked)
