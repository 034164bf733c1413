-- Where the continuous pass over a move is, if it is of this plan and not stale; after an upset it begins anew.
SELECT proof.place FROM cutover.proof proof
 WHERE proof.plan = %(plan)s AND proof.move = %(move)s AND proof.digest = %(digest)s AND proof.place IS NOT NULL
   AND proof.pass_at > now() - interval '1 day'
   AND NOT EXISTS (SELECT FROM cutover.event event
                    WHERE event.plan = proof.plan AND (event.move = proof.move OR event.move IS NULL)
                      AND event.what IN ('heal', 'gap', 'halt', 'mapping-changed', 'source-added', 'target-created',
                                         'partitions-changed', 'mapping-made-again', 'discard', 'accept')
                      AND event.at >= proof.pass_started_at)
