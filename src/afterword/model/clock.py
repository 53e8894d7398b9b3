"""The one source of time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

UNNOTICED = 0.25  # seconds by which two clocks may differ


class Clock:
    """Wall-clock time for stored timestamps, monotonic time for waiting.

    Tests pass a clock of their own:

    >>> class Stopped(Clock):
    ...     def now(self) -> float:
    ...         return 0.0
    >>> as_datetime(Stopped().now()).isoformat()
    '1970-01-01T00:00:00+00:00'
    """

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC, the unit of stored timestamps."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences are meaningful."""
        return time.monotonic()


class StoreClock(Clock):
    """The store's time, derived from this host's clock.

    Processes on several hosts share one store, and their clocks may differ.

    >>> class Fast(Clock):
    ...     def now(self) -> float:
    ...         return 3600.0
    >>> clock = StoreClock(Fast())
    >>> clock.now(), clock.set_by(lambda: 10.0), clock.now()
    (3600.0, 3590.0, 10.0)

    Args:
        clock: the clock of this host.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fast = 0.0
        self.monotonic = clock.monotonic  # type: ignore[method-assign] # asked for often

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC by the store's clock."""
        return self._clock.now() - self._fast

    def set_by(self, ask: Callable[[], float]) -> float:
        """Synchronise with the store's clock; return the seconds by which the host's is fast.

        A difference too small to measure is not corrected.

        Args:
            ask: reads the store's clock.
        """
        before, right = self._clock.now(), ask()
        fast = (before + self._clock.now()) / 2 - right
        self._fast = fast if abs(fast) > UNNOTICED else 0.0
        return fast


class Careful(Clock):
    """A clock for actions that cannot be undone: it never runs ahead.

    It gives the earlier of two times: the wall clock now, and the wall clock at the start plus the
    monotonic time since then. So setting the wall clock forward makes nothing look older than it
    is.

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
        """Take the reading of the wall clock to count from."""
        self._ahead = self._clock.now() - self._clock.monotonic()

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return min(self._clock.now(), self._clock.monotonic() + self._ahead + UNNOTICED)


def as_datetime(seconds: float) -> datetime:
    """Convert a stored time to an aware UTC datetime, clamped to the range of datetime."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        limit = datetime.min if seconds < 0 else datetime.max  # noqa: DTZ901 - UTC is set below
        return limit.replace(tzinfo=UTC)
