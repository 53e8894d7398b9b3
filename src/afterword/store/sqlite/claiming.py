"""Claims: a worker gets the jobs that are due, as far as limits and rates allow.

See `afterword.store.admission`.
"""

import json
from collections.abc import Mapping, Sequence

from afterword.model.clock import Careful, Clock
from afterword.model.job import new_fence
from afterword.store.admission import (
    Limited,
    PutOff,
    Starts,
    over_limit,
    over_rate,
    remembered,
)
from afterword.store.parts import Row, Values, fence_values
from afterword.store.protocol import Claim, QueueRules
from afterword.store.records import claim_of
from afterword.store.sqlite.writer import Writer


class Claiming:
    """Gives jobs to workers.

    A claim runs while no other process writes, so what is counted here cannot change meanwhile.
    """

    def __init__(self, writer: Writer, clock: Clock, careful: Careful) -> None:
        self._writer = writer
        self._clock = clock
        self._careful = careful
        self.limited_queues = frozenset[str]()  # those with a limit, at the last claim

    def rules(self, worker: str) -> QueueRules:
        """Return the rules of queues, for a worker."""
        ((version, noted, names),) = self._writer.look("rules", {"worker": worker})
        return QueueRules(version, noted, frozenset(json.loads(names)))

    def take_note(self, worker: str, version: int | None) -> None:
        """Note that this worker follows these rules."""
        with self._writer.transaction():
            self._writer.write("take_note", {"worker": worker, "version": version})

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Take due jobs, lane by lane: (priority, run_at, id) within each queue."""
        claims: list[Claim] = []
        with self._writer.transaction():
            now = self._clock.now()  # not before: others may have noted later starts meanwhile
            values = {
                "worker": worker,
                "fence": new_fence(),
                "now": now,
                "careful": self._careful.now(),
                "skip": json.dumps(list(skip)),
            }
            rooms = dict(self._rooms(queues))
            for queue, priority in self._lanes(queues):
                most = min(limit - len(claims), rooms.get(queue, limit))
                if most <= 0:
                    continue
                lane = {"queue": queue, "priority": priority, "limit": most}
                rows = self._take({**values, **lane})
                admitted = self._admitted(rows, now)
                claims.extend(admitted)
                if queue in rooms:
                    rooms[queue] -= len(admitted)
                if len(admitted) < len(rows):
                    break  # some were put off, and the next of them go before others
        return claims

    def _lanes(self, queues: Sequence[str]) -> Sequence[tuple[str, int]]:
        """Return the queues and priorities that have ready jobs, in their order."""
        ((lanes,),) = self._writer.write("lanes", {"queues": json.dumps(list(queues))})
        return [(queue, priority) for queue, priority in json.loads(lanes)]

    def _take(self, values: Values) -> Sequence[Row]:
        """Take the due jobs of one lane, in its order."""
        ((found,),) = self._writer.write("claim", values)
        rows = sorted(json.loads(found.decode(errors="replace")))
        ids = json.dumps([job_id for _, job_id, *_ in rows])
        taken = {name: values[name] for name in ("worker", "fence", "now")}
        self._writer.write("take", {**taken, "ids": ids})
        return rows

    def next_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next job of these queues becomes due."""
        now = self._clock.now()
        ((at,),) = self._writer.write("next", {"queues": json.dumps(list(queues)), "now": now})
        return None if at is None else float(at) - now

    def _rooms(self, queues: Sequence[str]) -> Mapping[str, int]:
        """Count, for those of these queues that have a rule, how many more jobs may start."""
        rules = self._writer.write("queue_rules", {})
        self.limited_queues = frozenset(
            name for name, _, concurrency in rules if concurrency is not None
        )
        return {
            name: 0 if paused else concurrency - self._running("running_in", {"queue": name})
            for name, paused, concurrency in rules
            if name in queues and (paused or concurrency is not None)
        }

    def _running(self, statement: str, values: Mapping[str, str]) -> int:
        ((count,),) = self._writer.write(statement, values)
        return int(count)

    def _admitted(self, rows: Sequence[Row], now: float) -> Sequence[Claim]:
        """Return the claims of these rows that may start now; the others are put off."""
        claims = [claim_of(row[1:-1], row[0]) for row in rows]
        limited = [
            Limited(claim, row[-2], has_slot=row[-1] is not None)
            for claim, row in zip(claims, rows, strict=True)
            if row[-2] is not None
        ]
        if not limited:
            return claims
        refused = self._refuse(limited, now)
        return [claim for claim in claims if claim.id not in refused]

    def _refuse(self, limited: Sequence[Limited], now: float) -> set[str]:
        """Put off the claims that may not start now; return their ids."""
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
                self._writer.write("take_slot", {"id": each.claim.id, "now": now})
        return refused

    def _put_off(self, put_off: Sequence[PutOff]) -> set[str]:
        for each in put_off:
            values = {**fence_values(each.claim), "at": each.at or 0.0, "slot_at": each.at}
            self._writer.write("put_off", values)
            self._writer.claimable()  # others, behind these, may be claimed instead
        return {each.claim.id for each in put_off}

    def _keep(self, kept: Mapping[str, Starts], limited: Sequence[Limited]) -> None:
        for key, starts in kept.items():
            values = {
                "key": key,
                "starts": starts.text,
                "freed": json.dumps(starts.freed),
                "expires_at": starts.latest + remembered(limited, key),
            }
            self._writer.write("note_starts", values)

    def _starts(self, key: str) -> Starts:
        for at, freed, reserved in self._writer.write("starts", {"key": key}):
            return Starts.read(at, json.loads(freed), reserved)
        return Starts()
