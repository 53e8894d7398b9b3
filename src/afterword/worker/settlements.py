"""Settlements on their way to the store: many at once, in one operation.

A worker that drains a backlog ends thousands of attempts a second. Attempts that end while the
store's thread is busy wait here, and are settled together: one operation, one call of
`Store.settle`, one answer. A single settlement is submitted at once.
"""

import threading
from collections.abc import Callable, Sequence

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import calling, settling
from afterword.errors import StoreLocked, StoreUnavailable
from afterword.store.protocol import Settlement, Store

OnSettled = Callable[[Settlement, bool, BaseException | None], None]


class SettlementQueue:
    """Settles attempts; they may end in any thread.

    Args:
        group: runs the store.
        on_settled: called in the store's thread, once for each settlement. Its arguments: the
            settlement, True if it was accepted, and the error of this settlement or None.
    """

    def __init__(self, group: GroupCommit, on_settled: OnSettled) -> None:
        self._group = group
        self._on_settled = on_settled
        self._waiting: list[Settlement] = []
        self._lock = threading.Lock()

    def add(self, settlement: Settlement) -> None:
        """Settle an attempt; tried again until it is stored or can never be stored."""
        with self._lock:
            self._waiting.append(settlement)
            first = len(self._waiting) == 1
        if first:
            _Batch(self).submit()

    def take(self) -> list[Settlement]:
        """Take all waiting settlements."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def insist(self, settle: Callable[[Store], Sequence[bool]], done: "Done") -> None:
        """Run `settle` in the store's thread; give up on errors that one settlement may cause."""
        operation = calling(settle)
        operation.done, operation.divisible = done, True
        self._group.insist(operation, gives_up_on=_may_be_of_one)

    def answer(self, settlements: Sequence[Settlement], accepted: Sequence[bool]) -> None:
        """Call `on_settled` for each; the store has accepted or refused it."""
        for settlement, is_accepted in zip(settlements, accepted, strict=True):
            self._on_settled(settlement, is_accepted, None)

    def add_alone(self, settlement: Settlement) -> None:
        """Settle one of a failed batch by itself, so that only the bad one fails or waits."""
        operation = settling([settlement])
        operation.done = lambda accepted, error: self._on_settled(
            settlement, bool(accepted and accepted[0]), error
        )
        self._group.insist(operation)


Done = Callable[[Sequence[bool], BaseException | None], None]


class _Batch:
    """Settlements of one operation; they stay together when it is tried again."""

    def __init__(self, ends: SettlementQueue) -> None:
        self._ends = ends
        self._settlements: list[Settlement] = []

    def submit(self) -> None:
        """Submit the batch; it takes the settlements that wait when it starts."""
        self._ends.insist(self._settle, self._done)

    def _settle(self, store: Store) -> Sequence[bool]:
        self._settlements.extend(self._ends.take())
        return store.settle(self._settlements)

    def _done(self, accepted: Sequence[bool], error: BaseException | None) -> None:
        if error is None:
            self._ends.answer(self._settlements, accepted)
            return
        # Also those that still wait: no other batch has been submitted for them.
        for settlement in (*self._settlements, *self._ends.take()):
            self._ends.add_alone(settlement)


def _may_be_of_one(error: BaseException) -> bool:
    """True if one settlement may cause the error; False if the store is away."""
    return isinstance(error, StoreLocked) or not isinstance(error, StoreUnavailable)
