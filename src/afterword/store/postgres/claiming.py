"""Claims: a worker gets the jobs that are due, as far as limits and rates allow.

One statement takes the due jobs, except those of paused queues and those whose limit is already
reached. Several workers do so at the same time, and none of them sees the jobs that the others are
taking. So jobs with a limit or a rate are then checked under a lock for their queue or key, which
lasts until the commit: meanwhile no other process can start more of them, and the jobs beyond the
limit are put off. Jobs without a limit do not need this.

If another process holds such a lock, this process does not wait for it, because all its claims and
outcomes would wait, too. It puts off the jobs of this queue or key, and skips them for a moment.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from afterword.model.clock import Clock
from afterword.model.job import new_fence
from afterword.store.admission import (
    Limited,
    Place,
    PutOff,
    Starts,
    over_limit,
    over_rate,
    remembered,
)
from afterword.store.parts import Row, fence_of
from afterword.store.postgres.rows import columns
from afterword.store.postgres.writer import Writer
from afterword.store.protocol import Claim, QueueRules
from afterword.store.records import claim_of

_QUEUE, _KEY = "queue ", "key "  # what the names of locks begin with
_LEAVE_FOR = 0.02  # seconds


class Contested:
    """The queues and keys on which another process was deciding a moment ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}  # monotonic, by the names of locks

    def note(self, names: Iterable[str]) -> None:
        """Leave these to the other process for a moment."""
        self._until.update(dict.fromkeys(names, self._clock.monotonic() + _LEAVE_FOR))

    def names(self) -> set[str]:
        """Return those that are left to others now."""
        now = self._clock.monotonic()
        return {name for name, until in self._until.items() if until > now}

    def over(self) -> bool:
        """True, once, when it is time to look again at one of them."""
        left = self.names()
        ended = len(left) < len(self._until)
        self._until = {name: until for name, until in self._until.items() if name in left}
        return ended


@dataclass(frozen=True, slots=True)
class Taken:
    """A claim that may have to be put off.

    Args:
        limited: what its limit key asks for.
        in_limited_queue: its queue has a limit of its own.
    """

    claim: Claim
    limited: Limited | None
    in_limited_queue: bool

    @classmethod
    def of(cls, claim: Claim, row: Row) -> "Taken | None":
        """Read a row of claim.sql; None if nothing can put the claim off."""
        key, has_slot, in_limited_queue = row[-3:]
        if key is None and not in_limited_queue:
            return None
        limited = None if key is None else Limited(claim, key, has_slot=has_slot)
        return cls(claim, limited, in_limited_queue)

    @property
    def locks(self) -> set[str]:
        """The names of the locks that it needs before it may start."""
        queue = {_QUEUE + self.claim.queue} if self.in_limited_queue else set()
        return queue | ({_KEY + self.limited.key} if self.limited else set())


class Claiming:
    """Gives jobs to workers.

    Args:
        remind: says that this process should look again after so many seconds.
    """

    def __init__(self, writer: Writer, clock: Clock, remind: Callable[[float], object]) -> None:
        self._writer = writer
        self._remind = remind
        self.contested = Contested(clock)

    def rules(self, worker: str) -> QueueRules:
        """Return the rules of queues, for a worker."""
        ((version, noted, names),) = self._writer.ask("rules", {"worker": worker})
        return QueueRules(version, noted, frozenset(names))

    def take_note(self, worker: str, version: int | None) -> None:
        """Note that this worker follows these rules."""
        with self._writer.transaction():
            self._writer.execute("take_note", {"worker": worker, "version": version})

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Take due jobs, lane by lane: (priority, run_at, id) within each queue."""
        left_alone = self.contested.names()
        values = {
            "worker": worker,
            "fence": new_fence(),
            "queues": [each for each in queues if _QUEUE + each not in left_alone],
            "limit": limit,
            "skip": list(skip),
            "skip_keys": [each.removeprefix(_KEY) for each in left_alone if each.startswith(_KEY)],
        }
        with self._writer.transaction():
            rows = sorted(self._writer.execute("claim", values))
            claims = [claim_of(row[3:-2], row[2].timestamp()) for row in rows]
            taken = [Taken.of(claim, row) for claim, row in zip(claims, rows, strict=True)]
            held_up = [each for each in taken if each is not None]
            refused = self._refuse(held_up) if held_up else set()
            if refused:
                self._writer.claimable_here()  # others, behind these, may be claimed instead
        return [claim for claim in claims if claim.id not in refused]

    def next_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next job of these queues becomes due."""
        ((seconds,),) = self._writer.ask("next", {"queues": list(queues)})
        return None if seconds is None else float(seconds)

    def _refuse(self, taken: Sequence[Taken]) -> set[str]:
        """Put off the claims that may not start now; return their ids."""
        names = set[str]().union(*(each.locks for each in taken))
        ours = {name for (name,) in self._writer.execute("reserve", {"names": sorted(names)})}
        if left := names - ours:
            self.contested.note(left)
            self._remind(_LEAVE_FOR)
        refused = self._put_off([PutOff(each.claim) for each in taken if not each.locks <= ours])
        sure = [each for each in taken if each.locks <= ours]
        in_queues = [each.claim for each in sure if each.in_limited_queue]
        refused |= self._put_off(self._over_queues(in_queues))
        limited = [each.limited for each in sure if each.limited and each.claim.id not in refused]
        return refused | self._refuse_limited(limited)

    def _put_off(self, put_off: Sequence[PutOff]) -> set[str]:
        if put_off:
            rows = ((*fence_of(each.claim), each.at) for each in put_off)
            self._writer.execute("put_off", columns("ids attempts workers fences slots", rows))
        return {each.claim.id for each in put_off}

    def _over_queues(self, claims: Sequence[Claim]) -> list[PutOff]:
        if not claims:
            return []
        queues = sorted({claim.queue for claim in claims})
        rows = self._writer.execute("running_in", {"queues": queues})
        limits = {name: limit for name, limit, _ in rows}
        places = [Place(claim, claim.queue, limits.get(claim.queue)) for claim in claims]
        return over_limit(places, {name: running for name, _, running in rows})

    def _refuse_limited(self, limited: Sequence[Limited]) -> set[str]:
        if not limited:
            return set()
        keys = sorted({each.key for each in limited})
        rows = self._writer.execute("running_with", {"keys": keys})
        running = {key: count for key, count, *_ in rows}
        starts = {key: Starts.read(*slots) for key, _, *slots, _ in rows}
        refused = self._put_off(over_limit([each.place for each in limited], running))
        left = [each for each in limited if each.claim.id not in refused]
        return refused | self._refuse_early(left, starts, now=rows[0][-1])

    def _refuse_early(
        self, limited: Sequence[Limited], starts: Mapping[str, Starts], now: float
    ) -> set[str]:
        early, kept = over_rate(limited, starts, now)
        refused = self._put_off(early)
        if kept:
            self._keep(kept, limited)
            self._take_slots(each for each in limited if each.claim.id not in refused)
        return refused

    def _keep(self, kept: Mapping[str, Starts], limited: Sequence[Limited]) -> None:
        rows = (
            (key, each.text, json.dumps(each.freed), each.latest + remembered(limited, key))
            for key, each in kept.items()
        )
        self._writer.execute("note_starts", columns("keys starts freed expire_ats", rows))

    def _take_slots(self, started: Iterable[Limited]) -> None:
        ids = [each.claim.id for each in started if each.rate and not each.has_slot]
        if ids:
            self._writer.execute("take_slots", {"ids": ids})
