"""Stores of jobs: the contract, and the two stores that Afterword ships.

`protocol` is the contract in words, `afterword.testing` the contract as tests; `sqlite` and
`postgres` keep it. Only `client` calls a store that writes.
"""

from afterword.store.protocol import (
    Added,
    Cancelling,
    Claim,
    Declared,
    Due,
    Putback,
    QueueRules,
    Recovered,
    Report,
    Settlement,
    Statement,
    Store,
    held_claim,
    open_store,
)

__all__ = [
    "Added",
    "Cancelling",
    "Claim",
    "Declared",
    "Due",
    "Putback",
    "QueueRules",
    "Recovered",
    "Report",
    "Settlement",
    "Statement",
    "Store",
    "held_claim",
    "open_store",
]
