"""Limits by key, and rates: decide which of the claimed jobs may start now.

A claim first takes the jobs that are due, and then checks their limits. Jobs over a limit are put
off: given back as if they had not been claimed, and, if a rate is the reason, queued for the time
at which they may start. That time is the job's slot. It is reserved for the job, which keeps it, so
the jobs of a rate start in the order in which they were claimed.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from afterword.model.job import JobOptions
from afterword.store.protocol import Claim

_LONGEST = 1e11  # seconds that a rate can look back: 3,000 years
_STEP = 60.0  # seconds by which a clock may be set without being called wrong
_LAST_SLOT = 250_000_000_000.0  # in the year 9892: stores keep no time after 9999


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a claimed job takes of a limit: of its key, or of its queue."""

    claim: Claim
    key: str
    limit: int | None


@dataclass(frozen=True, slots=True)
class Limited:
    """A claimed job that has a limit or a rate, or both.

    Impossible values, written into its options by hand, are ignored.
    """

    claim: Claim
    key: str
    has_slot: bool  # reserved when it was put off

    @property
    def place(self) -> Place:
        """The place that it takes of its limit."""
        limit = JobOptions.read(self.claim.options).limit
        return Place(self.claim, self.key, limit if type(limit) is int else None)

    @property
    def rate(self) -> tuple[int, float] | None:
        """The rate: (jobs, seconds); None: it has none."""
        rate = JobOptions.read(self.claim.options).rate
        return rate if rate and rate[0] > 0 and 0 < rate[1] <= _LONGEST else None


@dataclass(frozen=True, slots=True)
class PutOff:
    """A claim to be given back; `at` is its slot, if a rate is the reason."""

    claim: Claim
    at: float | None = None


def over_limit(places: Sequence[Place], running: Mapping[str, int]) -> list[PutOff]:
    """Return the claims for which there is no place; earlier claims have precedence.

    Args:
        running: how many jobs of each key run now, these included.
    """
    taken = Counter(running)
    taken.subtract(each.key for each in places)
    put_off = []
    for each in places:
        if each.limit is not None and taken[each.key] >= each.limit:
            put_off.append(PutOff(each.claim))
        else:
            taken[each.key] += 1
    return put_off


@dataclass(frozen=True, slots=True)
class Starts:
    """The latest slots of the jobs with one key, as many as its rate counts.

    Args:
        at: those that were given, the latest last.
        freed: those of jobs that were cancelled or deleted before their slot.
        reserved: the latest one that a job still waits for.
    """

    at: tuple[float, ...] = ()
    freed: tuple[float, ...] = ()
    reserved: float | None = None

    @classmethod
    def read(
        cls, at: str | None, freed: Sequence[float] | None, reserved: float | None
    ) -> "Starts":
        """Read them as a store keeps them; ignore values that are not times."""
        known = json.loads(at) if at else []
        given = tuple(map(float, known)) if _are_times(known) else ()
        return cls(given, tuple(freed or ()), reserved)

    @property
    def text(self) -> str:
        """The slots that were given, for the store."""
        return json.dumps(self.at, separators=(",", ":"))

    @property
    def latest(self) -> float:
        """The latest of all."""
        return max((*self.at, *self.freed), default=0.0)

    def next(self, rate: tuple[int, float], now: float) -> tuple[float, "Starts"]:
        """Return the slot of the next job, and the starts with that one.

        >>> slot, starts = Starts((100.0, 101.0)).next((2, 60.0), now=102.0)
        >>> slot, starts.at
        (160.0, (101.0, 160.0))
        """
        count, period = rate
        given_up = sorted(slot for slot in self.freed if slot > now)
        if given_up:  # the first of them fits between the others
            return given_up[0], replace(self, freed=tuple(given_up[1:]))
        kept = self._kept(count, now)
        freed = kept[0] + period if len(kept) == count else now
        # Never before one that is reserved already.
        slot = min(max((now, freed, *kept[-1:])), _LAST_SLOT)
        return slot, Starts((*kept, slot)[-count:], (), max(slot, self.reserved or slot))

    def _kept(self, count: int, now: float) -> tuple[float, ...]:
        """Return those that count. A slot far ahead for which no job waits is from a wrong clock.

        A slot that is a little ahead is from another process, whose clock is ahead of this one.
        """
        owned = max(now, self.reserved or now)
        if not self.at or self.at[-1] <= owned + _STEP:
            return self.at[-count:]
        if owned > now:
            return (owned,) * count
        return tuple(at for at in self.at if at <= now)[-count:]


def _are_times(values: object) -> bool:
    return isinstance(values, list) and all(
        type(each) in (int, float) and 0 <= each <= _LAST_SLOT for each in values
    )


def over_rate(
    limited: Sequence[Limited], starts: Mapping[str, Starts], now: float
) -> tuple[list[PutOff], dict[str, Starts]]:
    """Return the claims that have to wait for their slots, and the starts to keep for each key."""
    put_off: list[PutOff] = []
    kept: dict[str, Starts] = {}
    for each in limited:
        if each.rate is None or each.has_slot:
            continue
        known = kept.get(each.key) or starts.get(each.key, Starts())
        slot, kept[each.key] = known.next(each.rate, now)
        if slot > now:
            put_off.append(PutOff(each.claim, slot))
    return put_off, kept


def remembered(limited: Sequence[Limited], key: str) -> float:
    """Return the seconds for which the starts of a key matter."""
    return max(each.rate[1] for each in limited if each.key == key and each.rate)
