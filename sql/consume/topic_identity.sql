SELECT m.topic_identity FROM cutover.move m WHERE m.plan = %s AND m.move = %s
