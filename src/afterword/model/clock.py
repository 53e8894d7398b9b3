"""The one source of time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

UNNOTICED = 0.25  # seconds by which two clocks may differ


class Clock:
    """Wall-clock time for what is stored, monotonic time for what is waited for.

    Tests give another one:

    >>> class Stopped(Clock):
    ...     def now(self) -> float:
    ...         return 0.0
    >>> as_datetime(Stopped().now()).isoformat()
    '1970-01-01T00:00:00+00:00'
    """

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC, as the stores keep them."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        return time.monotonic()


class StoreClock(Clock):
    """The store's time, by this host's clock: processes on other hosts share the store.

    >>> class Fast(Clock):
    ...     def now(self) -> float:
    ...         return 3600.0
    >>> clock = StoreClock(Fast())
    >>> clock.now(), clock.set_by(lambda: 10.0), clock.now()
    (3600.0, 3590.0, 10.0)

    Args:
        clock: the host's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fast = 0.0

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC, as the store has them."""
        return self._clock.now() - self._fast

    def monotonic(self) -> float:
        """As of the host's clock."""
        return self._clock.monotonic()

    def set_by(self, ask: Callable[[], float]) -> float:
        """Set it by the store's; returns by how many seconds the host's clock is fast.

        What cannot be told from the time it takes to ask is left as it is.
        """
        before, right = self._clock.now(), ask()
        fast = (before + self._clock.now()) / 2 - right
        self._fast = fast if abs(fast) > UNNOTICED else 0.0
        return fast


class Careful(Clock):
    """The time for what cannot be undone: by two readings of the host's clock, the earlier one.

    One is the clock now. The other is the clock at the start, counted on by the monotonic clock. A
    clock that somebody sets in between makes nothing look older than it is by either.

    >>> class Set(Clock):
    ...     at = 1000.0
    ...     def now(self) -> float:
    ...         return self.at
    ...     def monotonic(self) -> float:
    ...         return 5.0
    >>> clock = Set()
    >>> careful = Careful(clock)
    >>> careful.start()
    >>> clock.at += 8 * 24 * 3600
    >>> careful.now()
    1000.25
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = float("inf")  # of the monotonic clock, at the start

    def start(self) -> None:
        """Read the clock for the first time."""
        self._ahead = self._clock.now() - self._clock.monotonic()

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return min(self._clock.now(), self._clock.monotonic() + self._ahead + UNNOTICED)


def as_datetime(seconds: float) -> datetime:
    """The aware UTC datetime of a stored time; the first or last there is, if it is beyond that."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        limit = datetime.min if seconds < 0 else datetime.max  # noqa: DTZ901 - it gets one
        return limit.replace(tzinfo=UTC)
