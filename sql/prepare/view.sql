-- The mapping's view is this relation; another one of its name will have been made by somebody else.
UPDATE cutover.move SET view_oid = to_regclass(%(view)s)
 WHERE plan = %(plan)s AND move = %(move)s AND view_oid IS DISTINCT FROM to_regclass(%(view)s)
