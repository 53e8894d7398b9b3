"""The progress of a task: cheap to update, and written at most twice a second.

A task may update it a million times; each update sets a few attributes. The latest values are
written every half second, for all attempts of a worker together, and when an attempt ends:

    update() ──▶ changed ──▶ the worker's Reports, in the store's thread ──▶ Store.report
                    └──────▶ in a child process: sent to the worker, by a timer

Reports are written under the fence. A refused one is no error: another worker has the job.
"""

import contextlib
import json
import operator
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import reporting
from afterword.errors import StoreError, safe_repr
from afterword.injection.needs import native
from afterword.store.protocol import Claim, Report, Store

T = TypeVar("T")

EVERY = 0.5  # seconds from one write of an attempt's progress to the next
WRITE_WITHIN = 1.0  # seconds; if the store is busier, the write is skipped
MESSAGE_LIMIT = 200  # characters
_MOST = 1e300  # JSON and every database can store it
_NUMBERS = (int, float)


@native(in_processes=True)
class Progress:
    """The progress of this attempt, as a parameter of a task or `current_task().progress`.

    Args:
        claim: the attempt's.
        note: called after a change; not again before `take`.

    Example:
        async def import_rows(path: str, progress: Progress) -> None:
            progress.message("reading")
            for row in progress.track(read(path)):
                await insert(row)
    """

    __slots__ = ("_changed", "_claim", "_current", "_message", "_note", "_total")

    def __init__(self, claim: Claim, note: Callable[["Progress"], object]) -> None:
        self._claim, self._note = claim, note
        self._current: float = 0
        self._total: float | None = None
        self._message = ""
        self._changed = False

    @property
    def current(self) -> float:
        """The amount that is done."""
        return self._current

    @property
    def total(self) -> float | None:
        """The whole amount; None if it was not set."""
        return self._total

    def update(
        self, current: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Set the amount that is done.

        Args:
            current: the amount, in any unit; reduced to the total if it is greater.
            total: the whole amount. Default: as before.
            message: the present step, for people; at most 200 characters of one line are kept.
                Default: as before.

        Raises:
            ValueError: a number is negative, infinite or NaN.
        """
        if total is not None:
            self._total = _checked(total, "total")
        if message is not None:
            self._message = message if type(message) is str else str(message)
        if type(current) not in _NUMBERS or not 0 <= current <= _MOST:
            current = _checked(current, "current")
        total = self._total
        self._current = current if total is None or current <= total else total
        if not self._changed:
            self._changed = True
            self._note(self)

    def advance(self, n: float = 1) -> None:
        """Add to the amount that is done.

        Raises:
            ValueError: as in `update`.
        """
        if type(n) not in _NUMBERS or not 0 <= n <= _MOST:
            n = _checked(n, "n")
        self.update(self._current + n)

    def message(self, text: str) -> None:
        """Set the message: the present step, for people."""
        self.update(self._current, message=text)

    @overload
    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]: ...

    @overload
    def track(self, iterable: AsyncIterable[T], total: float | None = None) -> AsyncIterator[T]: ...

    def track(self, iterable: Any, total: float | None = None) -> Any:
        """Iterate and count: an item is done when the next one is requested.

        Args:
            iterable: for `for` or `async for`.
            total: the number of items. Default: the length, if the iterable has one.

        Example:
            for page in progress.track(pages):
                render(page)
        """
        if total is None:
            # Objects without a length hint give 0; they may have many items.
            total = len(iterable) if hasattr(iterable, "__len__") else _hint(iterable)
        self._total = None
        self.update(0, total)
        if hasattr(iterable, "__aiter__"):
            return self._track_async(iterable)
        return self._track(iter(iterable))

    def _track(self, iterator: Iterator[T]) -> Iterator[T]:
        for item in iterator:
            yield item
            self.advance()

    async def _track_async(self, iterable: AsyncIterable[T]) -> AsyncIterator[T]:
        async for item in iterable:
            yield item
            self.advance()

    def take(self) -> Report | None:
        """Take the changes since the last call; None if there are none."""
        if not self._changed:
            return None
        self._changed = False  # first, so that later changes are noted again
        values = {"current": self._current, "total": self._total, "message": _line(self._message)}
        return Report(self._claim, json.dumps(values, separators=(",", ":"), ensure_ascii=False))

    def put_back(self) -> None:
        """Note the change again, because the taken changes could not be written."""
        self._changed = True
        self._note(self)


def _checked(value: Any, name: str) -> float:
    """Convert to a number that JSON can hold, int or float.

    Raises:
        ValueError: it is none.
    """
    try:
        number: float = operator.index(value) if hasattr(value, "__index__") else float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= _MOST:
        raise ValueError(
            f"{name} must be a number from 0 on (not NaN, not infinite), but it is"
            f" {safe_repr(value)}."
        )
    return number


def _hint(iterable: object) -> int | None:
    """The number of items, if an iterator has a length hint."""
    return operator.length_hint(iterable, 0) or None


def _line(text: str) -> str:
    """Convert any text to one printable line."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 2 * MESSAGE_LIMIT])
    return printable.strip()[:MESSAGE_LIMIT]


class Reports:
    """Writes the progress of a worker's attempts, together, twice a second.

    Args:
        group: runs the store.
    """

    def __init__(self, group: GroupCommit) -> None:
        self._group = group
        self._changed: set[Progress] = set()

    def start(self) -> None:
        """Write from now on."""
        self._group.every(EVERY, self._write)

    def note(self, progress: Progress) -> None:
        """Note that this progress has changed; in any thread."""
        self._changed.add(progress)

    def _write(self, store: Store) -> None:
        """Write the changes, in the store's thread; later ones are for the next time."""
        taken = [self._changed.pop() for _ in range(len(self._changed))]
        reports = [report for each in taken if (report := each.take()) is not None]
        if not reports:
            return
        try:
            store.report(reports)
        except Exception:
            for each in taken:
                each.put_back()
            raise

    def write_last(self, progress: Progress, then: Callable[[], None]) -> None:
        """Write the last progress of an attempt, then call `then` in the store's thread.

        Args:
            then: called also after an error; called at once if there is nothing to write.
        """
        report = progress.take()
        if report is None:
            then()
            return
        operation = reporting([report])
        operation.done = lambda result, error: then()
        self._group.submit(operation)

    def write_now(self, progress: Progress) -> None:
        """Write the latest changes now; an error of the store is ignored."""
        report = progress.take()
        if report is not None:
            with contextlib.suppress(StoreError):
                self._group.run_blocking(reporting([report]), WRITE_WITHIN)
