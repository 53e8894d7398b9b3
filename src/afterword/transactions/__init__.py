"""Jobs in the user's own database transactions.

`connections` has one module per driver, `statements` writes jobs on such a connection, `completion`
completes an attempt in the transaction of its effects. `request.bind` and `worker.context` use
them.
"""
