"""The outcomes of an attempt, for stores: `Store.settle` writes them."""

from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)

Retry = RetryAt  # its former name

__all__ = [
    "Cancelled",
    "Completed",
    "Failed",
    "HandedOver",
    "Outcome",
    "Released",
    "Retry",
    "RetryAt",
]
