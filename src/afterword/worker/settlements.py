"""The ends of attempts on their way to the store: many at once, in one operation.

A worker that drains a backlog ends thousands of attempts a second. What ends while the store's
thread is busy waits here, and is settled together: one operation, one call of `Store.settle`, one
answer. Nothing waits for company: an end that is alone goes at once.
"""

import threading
from collections.abc import Callable, Sequence

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import calling, settling
from afterword.errors import StoreLocked, StoreUnavailable
from afterword.store.protocol import Settlement, Store

OnSettled = Callable[[Settlement, bool, BaseException | None], None]


class SettlementQueue:
    """Settles attempts, in whatever thread they end.

    Args:
        group: runs the store.
        on_settled: called in the store's thread, once for each, with whether it was accepted; or
            with the error that this very settlement met.
    """

    def __init__(self, group: GroupCommit, on_settled: OnSettled) -> None:
        self._group = group
        self._on_settled = on_settled
        self._waiting: list[Settlement] = []
        self._lock = threading.Lock()

    def add(self, settlement: Settlement) -> None:
        """Settle it; tried again until it is on record, or surely never can be."""
        with self._lock:
            self._waiting.append(settlement)
            first = len(self._waiting) == 1
        if first:
            _Batch(self).submit()

    def take(self) -> list[Settlement]:
        """All that wait now."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def insist(self, settle: Callable[[Store], Sequence[bool]], done: "Done") -> None:
        """Have the store's thread do it; what one of them may have met is answered."""
        operation = calling(settle)
        operation.done, operation.divisible = done, True
        self._group.insist(operation, gives_up_on=_may_be_of_one)

    def answer(self, settlements: Sequence[Settlement], accepted: Sequence[bool]) -> None:
        """They are on record, or were refused."""
        for settlement, is_accepted in zip(settlements, accepted, strict=True):
            self._on_settled(settlement, is_accepted, None)

    def add_alone(self, settlement: Settlement) -> None:
        """Settle one of a batch that failed as a whole: the bad one fails or waits, no other."""
        operation = settling([settlement])
        operation.done = lambda accepted, error: self._on_settled(
            settlement, bool(accepted and accepted[0]), error
        )
        self._group.insist(operation)


Done = Callable[[Sequence[bool], BaseException | None], None]


class _Batch:
    """What is settled together; it stays together if the store has to be asked again."""

    def __init__(self, ends: SettlementQueue) -> None:
        self._ends = ends
        self._settlements: list[Settlement] = []

    def submit(self) -> None:
        """Have it settled, with all that ends until then."""
        self._ends.insist(self._settle, self._done)

    def _settle(self, store: Store) -> Sequence[bool]:
        self._settlements.extend(self._ends.take())
        return store.settle(self._settlements)

    def _done(self, accepted: Sequence[bool], error: BaseException | None) -> None:
        if error is None:
            self._ends.answer(self._settlements, accepted)
            return
        # Those that it did not come to are taken, too: nobody else would be told to settle them.
        for settlement in (*self._settlements, *self._ends.take()):
            self._ends.add_alone(settlement)


def _may_be_of_one(error: BaseException) -> bool:
    """Whether the error may be that of one settlement: if the store is away, it is not."""
    return isinstance(error, StoreLocked) or not isinstance(error, StoreUnavailable)
