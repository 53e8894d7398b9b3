"""Until when callers in event loops wait for the store: one timer for all those of a loop.

A timer for each would be set and cancelled for each, which cost 5 of the 130 µs of a request.
"""

import asyncio
from collections.abc import Callable

from afterword.operation import Operation

Expire = Callable[[Operation], object]


class Deadlines:
    """The operations for which somebody waits, each in its event loop, and until when.

    Args:
        expire: called in that loop with each operation whose time is over.
    """

    def __init__(self, expire: Expire) -> None:
        self._expire = expire
        self._of: dict[asyncio.AbstractEventLoop, _OfLoop] = {}  # those in which somebody waits

    def add(self, operation: Operation, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """From now on it has so much time; to be called in the loop's thread, like `remove`."""
        known = self._of.get(loop)
        if known is None:
            known = self._of[loop] = _OfLoop(loop, self._expire)
        known.add(operation, seconds)

    def remove(self, operation: Operation, loop: asyncio.AbstractEventLoop) -> None:
        """Nobody waits for it any longer."""
        known = self._of.get(loop)
        if known is not None and not known.remove(operation):
            del self._of[loop]


class _OfLoop:
    """Those of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Expire) -> None:
        self._loop, self._expire = loop, expire
        self._due: dict[Operation, float] = {}  # times of the loop
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def add(self, operation: Operation, seconds: float) -> None:
        due = self._due[operation] = self._loop.time() + seconds
        if self._timer is None or due < self._fires_at:
            self._set_timer(due)

    def remove(self, operation: Operation) -> bool:
        """Returns whether there are others."""
        self._due.pop(operation, None)
        if not self._due:
            self._stop_timer()
        return bool(self._due)

    def _set_timer(self, due: float) -> None:
        self._stop_timer()
        self._timer, self._fires_at = self._loop.call_at(due, self._look), due

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        for operation in [each for each, due in self._due.items() if due <= now]:
            del self._due[operation]
            self._expire(operation)
        if self._due:
            self._set_timer(min(self._due.values()))
