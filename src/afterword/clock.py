"""The one source of time."""

import time
from datetime import UTC, datetime


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


def as_datetime(seconds: float) -> datetime:
    """The aware UTC datetime of a stored time; the first or last there is, if it is beyond that."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        limit = datetime.min if seconds < 0 else datetime.max  # noqa: DTZ901 - it gets one
        return limit.replace(tzinfo=UTC)
