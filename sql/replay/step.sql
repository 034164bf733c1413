UPDATE cutover.replay r
   SET at = %(at)s, records = r.records + %(records)s, keys = r.keys + %(keys)s
 WHERE r.id = %(id)s
