"""The user's own database transactions, which a job can be part of.

`connections` has one module per driver, `statements` writes jobs on such a connection, `completion`
ends an attempt in the transaction of its effects. `request.bind` and `worker.context` call them.
"""
