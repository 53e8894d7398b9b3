"""What a task can raise to say how its attempt is to end; none of these is an error.

if response.status_code == 429:
    raise Retry(delay=60)
if user is None:
    raise Cancel("the user was deleted")
"""

import math
from datetime import timedelta


class Retry(Exception):
    """Try this job again later, whatever its retries; it counts as one of them.

    Args:
        reason: kept as the error of this attempt.
        delay: seconds until then, or a timedelta. Default: as the task's `backoff` says.

    Raises:
        ValueError: the delay is negative, or no number.

    Example:
        >>> Retry("the service asks for patience", delay=60).delay
        60.0
    """

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason or "the task asked to be tried again")
        self.delay = None if delay is None else seconds_of(delay, "delay")


class Cancel(Exception):
    """End this job as cancelled: there is nothing left to do, and no reason to try again.

    Args:
        reason: why, for those who look at the job.

    Example:
        >>> str(Cancel("the user was deleted"))
        'the user was deleted'
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task cancelled itself")


def seconds_of(value: float | timedelta, name: str) -> float:
    """A duration in seconds.

    Raises:
        ValueError: it is negative, no number, or longer than a century.

    >>> seconds_of(timedelta(minutes=1), "delay")
    60.0
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, but it is {value!r}.")
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST:
        raise ValueError(
            f"{name} must be from 0 to {LONGEST:,} seconds (100 years), but it is {value!r}."
        )
    return float(seconds)


LONGEST = 100 * 365 * 24 * 3600
