"""Limits and rates: what keeps due jobs from being given out. See `afterword.stores.admission`."""

from collections.abc import Mapping, Sequence

from afterword.store import Claim
from afterword.stores.admission import (
    Limited,
    PutOff,
    Starts,
    over_limit,
    over_rate,
    remembered,
)
from afterword.stores.rows import Row
from afterword.stores.sqlite.database import Database
from afterword.stores.sqlite.rows import claim_of, fence


class Admitting:
    """The part of the SQLite store that holds claims to the limits.

    A claim runs while no other process writes, so what is counted here cannot change meanwhile.
    """

    _database: Database
    _ready: bool
    _limited: frozenset[str]

    def limit(self, queues: Mapping[str, int | None]) -> None:
        """How many jobs of these queues may run at the same time."""
        with self._database.transaction():
            for name, concurrency in queues.items():
                self._database.write("limit_queue", {"name": name, "concurrency": concurrency})
        self._ready = True

    def ruled(self) -> Sequence[str]:
        """The queues that are paused or limited."""
        rules = self._database.read("queue_rules", {})
        return [name for name, paused, concurrency in rules if paused or concurrency is not None]

    def _rooms(self, queues: Sequence[str]) -> Mapping[str, int]:
        """How many more jobs may start in those of these queues that have a rule."""
        rules = self._database.write("queue_rules", {})
        self._limited = frozenset(name for name, _, concurrency in rules if concurrency is not None)
        return {
            name: 0 if paused else concurrency - self._running("running_in", {"queue": name})
            for name, paused, concurrency in rules
            if name in queues and (paused or concurrency is not None)
        }

    def _running(self, statement: str, values: Mapping[str, str]) -> int:
        ((count,),) = self._database.write(statement, values)
        return int(count)

    def _admitted(self, rows: Sequence[Row], now: float) -> Sequence[Claim]:
        """The claims of these rows that may start now; the others are put off."""
        limited = [
            Limited(claim_of(row), limit_key, has_slot=slot_at is not None)
            for row in rows
            for limit_key, slot_at in [row[-2:]]
            if limit_key is not None
        ]
        refused = self._refuse(limited, now) if limited else set()
        return [claim for row in rows if (claim := claim_of(row)).id not in refused]

    def _refuse(self, limited: Sequence[Limited], now: float) -> set[str]:
        """Put off what may not start now; the ids."""
        keys = {each.key for each in limited}
        running = {key: self._running("running_with", {"key": key}) for key in keys}
        refused = self._put_off(over_limit([each.place for each in limited], running))
        left = [each for each in limited if each.claim.id not in refused]
        rated = {each.key for each in left if each.rate}
        early, kept = over_rate(left, {key: self._starts(key) for key in rated}, now)
        refused |= self._put_off(early)
        self._keep(kept, left)
        for each in left:
            if each.rate and each.claim.id not in refused:
                self._database.write("take_slot", {"id": each.claim.id, "now": now})
        return refused

    def _put_off(self, put_off: Sequence[PutOff]) -> set[str]:
        for each in put_off:
            values = {**fence(each.claim), "at": each.at or 0.0, "slot_at": each.at}
            self._database.write("put_off", values)
            self._ready = True  # others, behind these, may be claimed instead
        return {each.claim.id for each in put_off}

    def _keep(self, kept: Mapping[str, Starts], limited: Sequence[Limited]) -> None:
        for key, starts in kept.items():
            expires_at = starts.at[-1] + remembered(limited, key)
            values = {"key": key, "starts": starts.text(), "expires_at": expires_at}
            self._database.write("note_starts", values)

    def _starts(self, key: str) -> Starts:
        rows = self._database.write("starts", {"key": key})
        return Starts.read(rows[0][0] if rows else None)
