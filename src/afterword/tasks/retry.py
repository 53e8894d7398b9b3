"""Retries: the number of further attempts, and the delay before each of them.

These are pure rules: they take the random number as an argument and return seconds. The caller
draws the number and adds the delay to the time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from afterword.errors import ConfigurationError, safe_repr
from afterword.model.checks import check_number

MAX_RETRIES = 10_000
MAX_DELAY = 366 * 86400.0  # seconds: no retry waits longer than a year

_EXAMPLE = (
    "backoff=5 (seconds, then doubled), backoff=[1, 10, 60], backoff=Backoff(base=1, cap=600)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that grow with each failure, up to a cap, with random jitter.

    Without jitter, jobs that fail together (because a service is down) would be retried together.

    >>> steady = Backoff(base=1, jitter=0)
    >>> [steady.delay(failures, chance=0) for failures in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 8.0]

    Args:
        base: seconds after the first failure. Default: 1.
        factor: multiplies the delay with each further failure; at least 1. Default: 2.
        cap: the longest delay, in seconds. Default: 3600.
        jitter: the largest fraction, from 0 to 1, that is taken off at random. Default: 0.5.

    Raises:
        ConfigurationError: a value is not a number, or beyond its limits.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values beyond their limits."""
        _check("Backoff's cap", self.cap, 0, MAX_DELAY)
        _check("Backoff's base (at most its cap)", self.base, 0, self.cap)
        _check("Backoff's factor", self.factor, 1, 1000)
        _check("Backoff's jitter", self.jitter, 0, 1)

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds from a failed attempt to the next one.

        Args:
            failures: the number of failed attempts, from 1.
            chance: a random number; 0 takes nothing off, 1 (excluded) the whole jitter.
        """
        return min(self._grown(failures), float(self.cap)) * (1 - self.jitter * chance)

    def _grown(self, failures: int) -> float:
        try:
            return self.base * float(self.factor) ** max(failures - 1, 0)
        except OverflowError:
            return math.inf if self.base else 0.0


@dataclass(frozen=True, slots=True)
class Delays:
    """Fixed delays, one for each failure, without jitter; the last one is repeated.

    >>> [Delays((1, 10, 60)).delay(failures, chance=0.3) for failures in (1, 2, 3, 4)]
    [1.0, 10.0, 60.0, 60.0]

    Args:
        seconds: at least one delay.

    Raises:
        ConfigurationError: there is none, or one is not a number of seconds.
    """

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list, and delays beyond their limits."""
        if not self.seconds:
            raise _refused("backoff must be at least one delay", self.seconds, _EXAMPLE)
        for each in self.seconds:
            _check("Each delay of backoff", each, 0, MAX_DELAY)

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds from the `failures`-th failed attempt (from 1) to the next one."""
        return float(self.seconds[min(max(failures, 1), len(self.seconds)) - 1])


def as_backoff(value: object) -> Backoff | Delays:
    """Convert the value of `backoff=`.

    >>> as_backoff(5)
    Backoff(base=5, factor=2.0, cap=3600.0, jitter=0.5)
    >>> as_backoff([1, 10, 60])
    Delays(seconds=(1, 10, 60))

    Args:
        value: seconds after the first failure, which then grow; or a list with the seconds after
            each failure; or a `Backoff`.

    Raises:
        ConfigurationError: it is something else, or a delay beyond the limits.
    """
    if isinstance(value, Backoff | Delays):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return Delays(tuple(value))
    if isinstance(value, int | float):
        _check("backoff", value, 0, MAX_DELAY)
        return Backoff(base=value, cap=max(value, Backoff().cap))
    rule = "backoff must be a number of seconds, a list of them, or a Backoff"
    raise _refused(rule, value, _EXAMPLE)


def checked_retries(value: object, name: str = "retries") -> int:
    """Return a number of retries, from 0 to 10,000.

    Raises:
        ConfigurationError: it is something else; `name` is the option in the message.
    """
    check_number(name, value, 0, MAX_RETRIES, whole=True, example=f"{name}=5")
    return value  # type: ignore[return-value]


def _check(what: str, value: object, least: float, most: float) -> None:
    check_number(what, value, least, most, kind="a number", example=_EXAMPLE)


def _refused(rule: str, value: object, example: str) -> ConfigurationError:
    return ConfigurationError(f"{rule}, but it is {safe_repr(value)}. Example: {example}.")
