"""Stores of jobs: the contract, and the two stores that Afterword ships.

`protocol` is the contract in words, `afterword.testing` the contract as tests; `sqlite` and
`postgres` keep it, and `opening` finds the one of a URL. Only `client` calls a store that writes.
"""

from afterword.store.opening import open_store
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
