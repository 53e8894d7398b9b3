"""Which of the claimed jobs may start now: limits by key, and rates.

A claim takes what is due; only then is it known which limits it meets. What is too much is put off:
given back as if it had not been claimed, and, where a rate decides, queued for the time at which it
may start. That time is its slot. It is reserved when it is given, so that the job need not ask
again, and a rate keeps the order in which its jobs were claimed.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from afterword.job import JobOptions
from afterword.store import Claim


@dataclass(frozen=True, slots=True)
class Limited:
    """A claimed job that has a limit or a rate, or both."""

    claim: Claim
    key: str
    slot_at: float | None  # reserved already

    @property
    def options(self) -> JobOptions:
        """What was said of it."""
        return JobOptions.read(self.claim.options)


@dataclass(frozen=True, slots=True)
class PutOff:
    """A claim to be given back; `at` is its slot, if a rate is the reason."""

    claim: Claim
    at: float | None = None


def over_limit(limited: Sequence[Limited], running: Callable[[str], int]) -> list[PutOff]:
    """The claims that are too many, the last ones first to go.

    Args:
        running: how many jobs with this key run now, these included.
    """
    limits = {each.key: limit for each in limited if (limit := each.options.limit) is not None}
    excess = Counter({key: running(key) - limit for key, limit in limits.items()})
    put_off = []
    for each in reversed(limited):
        if excess[each.key] > 0:
            excess[each.key] -= 1
            put_off.append(PutOff(each.claim))
    return put_off


@dataclass(frozen=True, slots=True)
class Starts:
    """The latest starts of the jobs with one key, as many as its rate counts."""

    at: tuple[float, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> "Starts":
        """As a store keeps them."""
        return cls(tuple(json.loads(text))) if text else cls()

    def text(self) -> str:
        """For the store."""
        return json.dumps(self.at, separators=(",", ":"))

    def next(self, rate: tuple[int, float], now: float) -> tuple[float, "Starts"]:
        """When the next job may start, and the starts with that one.

        >>> slot, starts = Starts((100.0, 101.0)).next((2, 60.0), now=102.0)
        >>> slot, starts.at
        (160.0, (101.0, 160.0))
        """
        count, period = rate
        kept = self.at[-count:]
        freed = kept[0] + period if len(kept) == count else now
        slot = max((now, freed, *kept[-1:]))  # never before one that is reserved already
        return slot, Starts((*kept, slot)[-count:])


def over_rate(
    limited: Sequence[Limited], starts: Callable[[str], Starts], now: float
) -> tuple[list[PutOff], dict[str, Starts]]:
    """The claims that have to wait for their slots, and the starts to be kept for each key."""
    put_off: list[PutOff] = []
    kept: dict[str, Starts] = {}
    for each in limited:
        rate = each.options.rate
        if rate is None or each.slot_at is not None:
            continue
        known = kept[each.key] if each.key in kept else starts(each.key)
        slot, kept[each.key] = known.next(rate, now)
        if slot > now:
            put_off.append(PutOff(each.claim, slot))
    return put_off, kept


def remembered(limited: Sequence[Limited], key: str) -> float:
    """Seconds for which the starts of a key matter."""
    return max(each.options.rate[1] for each in limited if each.key == key and each.options.rate)
