"""Retries: how often a job is tried again, and how long it waits before each further attempt.

Rules only: they take the chance as a number and give seconds back. Whoever uses them throws the
dice and knows the time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from afterword.errors import ConfigurationError, safe_repr

MAX_RETRIES = 10_000
MAX_DELAY = 366 * 86400.0  # seconds; whoever waits longer than a year does not want a retry

_EXAMPLE = (
    "backoff=5 (seconds, then doubled), backoff=[1, 10, 60], backoff=Backoff(base=1, cap=600)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that grow with each failure, up to a cap, and differ by chance.

    What fails together (a service that is down) would otherwise be tried again together.

    >>> steady = Backoff(base=1, jitter=0)
    >>> [steady.delay(failures, chance=0) for failures in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 8.0]

    Args:
        base: seconds after the first failure. Default: 1.
        factor: what each further failure multiplies them by, from 1. Default: 2.
        cap: seconds that are never exceeded. Default: 3600.
        jitter: the fraction, from 0 to 1, that chance may take off. Default: 0.5.

    Raises:
        ConfigurationError: a value is no number, or beyond its limits.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what would wait for ever, or not grow."""
        _check("Backoff's cap", self.cap, 0, MAX_DELAY)
        _check("Backoff's base (at most its cap)", self.base, 0, self.cap)
        _check("Backoff's factor", self.factor, 1, 1000)
        _check("Backoff's jitter", self.jitter, 0, 1)

    def delay(self, failures: int, chance: float) -> float:
        """Seconds from the `failures`-th failed attempt (from 1) to the next one.

        Args:
            failures: how many attempts have failed.
            chance: from 0, which takes nothing off, up to but not including 1.
        """
        return min(self._grown(failures), float(self.cap)) * (1 - self.jitter * chance)

    def _grown(self, failures: int) -> float:
        try:
            return self.base * float(self.factor) ** max(failures - 1, 0)
        except OverflowError:
            return math.inf if self.base else 0.0


@dataclass(frozen=True, slots=True)
class Delays:
    """A delay for each failure, as written; the last one is for all that follow. No chance.

    >>> [Delays((1, 10, 60)).delay(failures, chance=0.3) for failures in (1, 2, 3, 4)]
    [1.0, 10.0, 60.0, 60.0]

    Args:
        seconds: at least one delay.

    Raises:
        ConfigurationError: there is none, or one is no number of seconds.
    """

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be waited for."""
        if not self.seconds:
            raise _refused("backoff must be at least one delay", self.seconds, _EXAMPLE)
        for each in self.seconds:
            _check("Each delay of backoff", each, 0, MAX_DELAY)

    def delay(self, failures: int, chance: float) -> float:
        """Seconds from the `failures`-th failed attempt (from 1) to the next one."""
        return float(self.seconds[min(max(failures, 1), len(self.seconds)) - 1])


def as_backoff(value: object) -> Backoff | Delays:
    """What an option `backoff=` means.

    >>> as_backoff(5)
    Backoff(base=5, factor=2.0, cap=3600.0, jitter=0.5)
    >>> as_backoff([1, 10, 60])
    Delays(seconds=(1, 10, 60))

    Args:
        value: seconds after the first failure, which then grow; or the seconds after each failure;
            or a `Backoff`.

    Raises:
        ConfigurationError: it is something else, or a number that cannot be waited for.
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
    """How often a job may be tried again: 0 to 10,000 times.

    Raises:
        ConfigurationError: it is something else; `name` says which option.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= MAX_RETRIES:  # type: ignore[operator]
        rule = f"{name} must be a whole number from 0 to {MAX_RETRIES}"
        raise _refused(rule, value, f"{name}=5")
    return value  # type: ignore[return-value]


def _check(what: str, value: object, least: float, most: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # type: ignore[operator]
        raise _refused(f"{what} must be a number from {least:g} to {most:.12g}", value, _EXAMPLE)


def _refused(rule: str, value: object, example: str) -> ConfigurationError:
    return ConfigurationError(f"{rule}, but it is {safe_repr(value)}. Example: {example}.")
