INSERT INTO cutover.event (plan, move, what, detail)
SELECT %(plan)s, move, 'heal', %(detail)s FROM unnest(%(moves)s::text[]) AS move
