"""Exceptions that a task raises to control how its attempt ends; none of these is an error.

if response.status_code == 429:
    raise Retry(delay=60)
if user is None:
    raise Cancel("the user was deleted")
"""

from datetime import timedelta

from afterword.errors import ConfigurationError, safe_repr
from afterword.model.checks import is_number


class Retry(Exception):
    """Run this job again later. It counts as one of the job's retries.

    A task without `retries` may ask for up to 100 of them.

    Args:
        reason: recorded as the error of this attempt.
        delay: seconds until the next attempt, or a timedelta. Default: the task's `backoff`.

    Raises:
        ConfigurationError: the delay is negative, or not a number.

    Example:
        >>> Retry("the service is overloaded", delay=60).delay
        60.0
    """

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason or "the task asked to be tried again")
        self.delay = None if delay is None else seconds_of(delay, "delay")


class Cancel(Exception):
    """End this job as cancelled: there is nothing left to do, so it is not retried.

    Args:
        reason: recorded as the error of the job.

    Example:
        >>> str(Cancel("the user was deleted"))
        'the user was deleted'
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task cancelled itself")


def seconds_of(value: float | timedelta, name: str) -> float:
    """Convert a duration to seconds.

    Raises:
        ConfigurationError: it is negative, not a number, or longer than 100 years.

    >>> seconds_of(timedelta(minutes=1), "delay")
    60.0
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds) or not 0 <= seconds <= LONGEST:
        raise ConfigurationError(
            f"{name} must be a timedelta or a number of seconds, from 0 to {LONGEST:,} seconds"
            f" (100 years), but it is {safe_repr(value)}."
        )
    return float(seconds)


LONGEST = 100 * 365 * 24 * 3600
