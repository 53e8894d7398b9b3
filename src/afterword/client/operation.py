"""One request to the store, as a value that can wait in a queue and be taken back."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from afterword.model.job import NewJob
from afterword.store.protocol import Added, Claim, Putback, Report, Settlement, Store

Done = Callable[[Any, BaseException | None], None]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Operation:
    """One request to the store: a verb with its items, or any function of the store.

    `take` is called first, with (result, error), in the store's thread. It processes the answer,
    even if the caller no longer waits for it. `done` wakes the caller: in the store's thread, or in
    the event loop `loop`.
    """

    verb: Callable[..., Any]
    done: Done | None = None
    take: Done | None = None
    items: Sequence[Any] | None = None  # None: the verb is called as verb(store), not merged
    option: Any = None  # operations of one verb and one option are merged
    loop: asyncio.AbstractEventLoop | None = None
    result: Any = None
    error: BaseException | None = None
    divisible: bool = False  # its owner splits it when it meets a lock
    aside_since: float | None = None  # monotonic: when it first met one
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _state: str = "waiting"
    _answered: bool = False
    _others: list[Callable[[], object]] | None = None  # called at the answer, in any thread

    def abandon(self) -> bool:
        """Take the operation back; False: it is too late, because it is being committed."""
        return self._leave_waiting("abandoned")

    @property
    def abandoned(self) -> bool:
        """True once its caller has taken it back."""
        return self._state == "abandoned"

    @property
    def committed(self) -> bool:
        """True if it is in the store; certain once it has been answered or abandoned."""
        return self._state == "committing" and self.error is None

    @property
    def in_doubt(self) -> bool:
        """True if it failed so late that it may be in the store nevertheless."""
        return self._state == "committing" and self.error is not None

    def mark_answered(self) -> Sequence[Callable[[], object]]:
        """Mark it as answered, and return the callbacks of `call_at_answer`."""
        with self._lock:
            self._answered = True
            others, self._others = self._others, None
        return others or ()

    def call_at_answer(self, wake: Callable[[], object]) -> bool:
        """Call `wake` in the store's thread when it is answered; False: it already is."""
        with self._lock:
            if not self._answered:
                self._others = [*(self._others or ()), wake]
            return not self._answered

    def begin_commit(self) -> bool:
        """Begin to commit it, after which it cannot be taken back; False: it was abandoned."""
        return self._leave_waiting("committing") or self._state == "committing"

    def undo_begin_commit(self) -> None:
        """Let its caller take it back again, because nothing of it was committed."""
        with self._lock:
            if self._state == "committing":
                self._state = "waiting"

    @property
    def unique_keys(self) -> set[str]:
        """The unique keys of the jobs that it adds."""
        jobs = (item for item in self.items or () if isinstance(item, NewJob))
        return {job.unique_key for job in jobs if job.unique_key is not None}

    def _leave_waiting(self, state: str) -> bool:
        with self._lock:
            if self._state != "waiting":
                return False
            self._state = state
            return True


def adding(jobs: Sequence[NewJob], held_by: str | None) -> Operation:
    """Store jobs; see `Store.add`."""
    operation = Operation(_add, items=jobs, option=held_by)
    if held_by is not None:
        _adding[id(operation)] = operation
    return operation


_adding: WeakValueDictionary[int, Operation] = WeakValueDictionary()  # of this process


def ids_being_added(worker: str) -> set[str]:
    """The ids of the jobs that operations on their way add, held by this worker."""
    operations = (reference() for reference in _adding.valuerefs())
    ours = (each for each in operations if each is not None and each.option == worker)
    return {job.id for operation in ours for job in operation.items or ()}


def releasing(putbacks: Sequence[Putback]) -> Operation:
    """Release claims; see `Store.release`."""
    return Operation(_release, items=putbacks)


def discarding(claims: Sequence[Claim], reason: str | None = None) -> Operation:
    """Remove held jobs, or cancel them; see `Store.discard`."""
    return Operation(_discard, items=claims, option=reason)


def settling(settlements: Sequence[Settlement]) -> Operation:
    """Write outcomes; see `Store.settle`."""
    return Operation(_settle, items=settlements)


def reporting(reports: Sequence[Report]) -> Operation:
    """Write the progress of attempts; see `Store.report`."""
    return Operation(_report, items=reports)


def calling(function: Callable[[Store], Any]) -> Operation:
    """Call any function with the store, within the batch's transaction."""
    return Operation(function)


def _add(store: Store, jobs: Sequence[NewJob], held_by: str | None) -> Sequence[Added]:
    return store.add(jobs, held_by)


def _release(store: Store, putbacks: Sequence[Putback], _: None) -> Sequence[bool]:
    return store.release(putbacks)


def _discard(store: Store, claims: Sequence[Claim], reason: str | None) -> Sequence[bool]:
    return store.discard(claims, reason)


def _settle(store: Store, settlements: Sequence[Settlement], _: None) -> Sequence[bool]:
    return store.settle(settlements)


def _report(store: Store, reports: Sequence[Report], _: None) -> Sequence[bool]:
    return store.report(reports)


def waking() -> Operation:
    """A no-op that wakes the thread."""
    return Operation(_nothing)


def _nothing(store: Store) -> None:
    """No-op."""
