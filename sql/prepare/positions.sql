INSERT INTO cutover.position (plan, move, partition)
SELECT %(plan)s, %(move)s, partition FROM generate_series(0, %(partitions)s - 1) AS partition
    ON CONFLICT DO NOTHING
