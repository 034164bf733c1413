-- On which side a move's readers are to be, for as long as the transaction lasts. Nothing that refers to the row waits.
SELECT percent FROM cutover.move WHERE plan = %(plan)s AND move = %(move)s FOR NO KEY UPDATE
