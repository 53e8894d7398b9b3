"""Jobs in a SQLite file: the embedded default.

WAL with `synchronous=FULL`: a commit survives power loss. Writers begin with BEGIN IMMEDIATE, so
they queue for the lock instead of failing to upgrade to it. Any number of processes of one machine
may open the file, each with one writing connection and one that only reads.

The driver is apsw because it brings its own, current SQLite: before 3.51.3 several writers could
corrupt a WAL database (https://sqlite.org/wal.html, section 11). Do not open the same file with
another SQLite library in the same process: POSIX drops a file's locks when either closes it. In
the application's own file the store therefore uses the standard library's sqlite3, as SQLAlchemy
does: `sqlite+pysqlite:///app.db`. Where that is an SQLite with the race, a rollback journal takes
the place of WAL (`drivers.py`).

What people may ask is in `looking.py`, what they may do in `acting.py`, and what the application's
own connection may execute in `ending.py`.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from afterword.clock import Clock
from afterword.job import JobState, NewJob
from afterword.outcome import Completed
from afterword.store import (
    Added,
    Cancelling,
    Claim,
    Putback,
    Recovered,
    Report,
    Settlement,
)
from afterword.stores.locks import Locks
from afterword.stores.rows import Lost, Row, Values, final_state, first_of_each
from afterword.stores.sqlite.acting import Acting
from afterword.stores.sqlite.admitting import Admitting
from afterword.stores.sqlite.database import Database, script
from afterword.stores.sqlite.drivers import Apsw, Driver, Pysqlite
from afterword.stores.sqlite.ending import InTheirTransaction, followed_by
from afterword.stores.sqlite.looking import Looking
from afterword.stores.sqlite.path import path_of
from afterword.stores.sqlite.rows import (
    again_row,
    attempt_row,
    fence,
    final_row,
    lost_row,
    new_row,
    release_row,
)
from afterword.stores.sqlite.scheduling import Scheduling
from afterword.stores.sqlite.sightings import Sightings

_Key = tuple[str, int, str]  # what a write that ends an attempt must match

_DRIVERS: Mapping[str, Callable[[], Driver]] = {"sqlite": Apsw, "sqlite+pysqlite": Pysqlite}


class SQLiteStore(Looking, Acting, Admitting, Scheduling, InTheirTransaction):
    """A store in one file.

    Args:
        path: the file; created, readable by its owner only, when it does not exist.
        clock: whose time leases and due times are measured in.
        driver: what opens it. Default: apsw, in a file of its own.

    Example:
        >>> store = SQLiteStore(Path("jobs.db"))
        >>> store.url
        'sqlite:///jobs.db'
    """

    durability = "power-loss"

    def __init__(
        self, path: Path, clock: Clock | None = None, driver: Driver | None = None
    ) -> None:
        self._driver: Driver = driver or Apsw()
        self.path = path
        self.url = f"{self._driver.scheme}:///{path}"
        self.identity = ""  # until it is open
        self._clock = clock or Clock()
        self._locks = Locks(path.with_name(path.name + "-workers"))
        self._sightings = Sightings(self._clock)
        self._database = Database(path, self._driver)
        self._ready = False  # our own writes made something claimable
        self._seen_version = 0
        self._limited: frozenset[str] = frozenset()  # queues with a limit of their own

    @classmethod
    def from_url(cls, url: str) -> "SQLiteStore":
        """The store that a `sqlite:///` or `sqlite+pysqlite:///` URL names."""
        return cls(path_of(url), driver=_DRIVERS[url.partition(":")[0]]())

    # ------------------------------------------------------------------ open and close

    def open(self, create: bool = True) -> None:
        """Take the file into use; with `create`, make it and migrate it if need be."""
        self.identity = self._database.open(create)
        self._seen_version = self._database.version_of_others()

    def close(self) -> None:
        """Close both connections and drop every lock."""
        self._database.close()
        self._locks.drop_all()

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._database.forget()
        self._locks.forget()

    def transaction(self) -> AbstractContextManager[None]:
        """One BEGIN IMMEDIATE ... COMMIT around the verbs called inside."""
        return self._database.transaction()

    def script(self) -> str:
        """All migrations as SQL."""
        return script(self._driver)

    # ------------------------------------------------------------------ workers

    def join(
        self, worker: str, lease: float, queues: Sequence[str] = (), concurrency: int = 0
    ) -> None:
        """Announce a worker, and hold its lock from before anyone can see it."""
        with self._database.errors():
            self._locks.hold(worker)
        now = self._clock.now()
        values = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": json.dumps(list(queues)),
            "concurrency": concurrency,
            "lease": lease,
            "now": now,
        }
        with self.transaction():
            self._database.write("join", values)
        self._sightings.note(worker, now + lease)

    def renew(self, worker: str, lease: float) -> bool:
        """Extend the worker's lease, unless it has been taken off the list."""
        with self.transaction():
            values = {"worker": worker, "lease": lease, "now": self._clock.now()}
            return bool(self._database.write("renew", values))

    def retire(self, worker: str) -> None:
        """Note that the worker is shutting down."""
        with self.transaction():
            self._database.write("retire", {"worker": worker})

    def leave(self, worker: str) -> None:
        """Take the worker off the list and drop its lock."""
        with self.transaction():
            self._database.write("leave", {"worker": worker})
        self._locks.drop(worker)

    # ------------------------------------------------------------------ the life of a job

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Store jobs, each as it says: queued, or held by the worker that stores it."""
        now = self._clock.now()
        others: dict[str, str] = {}  # ids of jobs that were not added: those that are there instead
        answers: list[Added] = []
        with self.transaction():
            if not any(job.unique_key for job in jobs):
                return self._add_all(jobs, held_by, now)
            for job in jobs:
                if job.after in others:
                    job = replace(job, after=others[job.after])  # noqa: PLW2901 - it is that one now
                answer = self._add(new_row(job, held_by, now))
                if answer.id != job.id:
                    others[job.id] = answer.id
                answers.append(answer)
            self._ready = self._ready or any(not job.held and job.after is None for job in jobs)
        return answers

    def _add_all(self, jobs: Sequence[NewJob], held_by: str | None, now: float) -> Sequence[Added]:
        """The usual case: nothing but its id tells whether a job is there already."""
        rows = (new_row(job, held_by, now) for job in jobs)
        added = {row[0] for row in self._database.write_many("add", rows)}
        self._ready = self._ready or any(not job.held and job.after is None for job in jobs)
        if len(added) == len(jobs):
            return [Added(job.id, True) for job in jobs]
        new = first_of_each([job.id for job in jobs], added)
        return [
            Added(job.id, True) if is_new else self._present(new_row(job, held_by, now))
            for job, is_new in zip(jobs, new, strict=True)
        ]

    def _add(self, row: Values) -> Added:
        if self._database.write("add", row):
            return Added(row["id"], True)
        return self._present(row)

    def _present(self, row: Values) -> Added:
        ((other, conflict),) = self._database.write("present", row)
        return Added(other, False, bool(conflict))

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        with self.transaction():
            accepted = [self._queue_again("release", release_row(each)) for each in putbacks]
        self._ready = True
        return accepted

    def _queue_again(self, statement: str, again: Values) -> bool:
        """Queue a running job again, unless somebody wanted it to end: then it has."""
        rows = self._database.write(statement, again)
        for (reason,) in rows:
            if reason is not None:
                self._cancel(again["id"], reason)
        return bool(rows)

    def discard(self, claims: Sequence[Claim]) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        accepted = []
        with self.transaction():
            for claim in claims:
                rows = self._database.write("discard", fence(claim))
                accepted.append(bool(rows))
                for (after,) in rows:
                    values = {"id": claim.id, "after": after}
                    moved = bool(self._database.write("move_up", values))
                    self._ready = self._ready or moved or claim.limited
        return accepted

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Take due jobs, lane by lane: (priority, run_at, id) within each queue."""
        claims: list[Claim] = []
        values = {"worker": worker, "now": self._clock.now(), "skip": json.dumps(list(skip))}
        with self.transaction():
            rooms = self._rooms(queues)
            for queue in queues:
                room = min(limit - len(claims), rooms.get(queue, limit))
                if not self._claim_in(queue, {**values, "queue": queue}, room, claims):
                    break
        return claims

    def _claim_in(self, queue: str, values: Values, room: int, claims: list[Claim]) -> bool:
        """Take from one queue; False: some were put off, and the next of them go before others."""
        left = room
        lanes = self._database.write("lanes", {"queue": queue}) if room > 0 else []
        for (priority,) in lanes:
            lane = {"priority": priority, "limit": left}
            rows = sorted(self._database.write("claim", {**values, **lane}))
            admitted = self._admitted(rows, values["now"])
            claims.extend(admitted)
            left -= len(admitted)
            if len(admitted) < len(rows):
                return False
            if left <= 0:
                break
        return True

    def next_in(self, queues: Sequence[str]) -> float | None:
        """In how many seconds the next job of these queues is due that is not yet."""
        now = self._clock.now()
        found = [
            at
            for queue in queues
            for (at,) in self._database.write("next", {"queue": queue, "now": now})
            if at is not None
        ]
        return min(found) - now if found else None

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        now = self._clock.now()
        first = {_key(each.claim): each for each in reversed(settlements)}  # of two for one attempt
        completed = [each for each in first.values() if isinstance(each.outcome, Completed)]
        others = [each for each in first.values() if not isinstance(each.outcome, Completed)]
        with self.transaction():
            accepted = self._complete(completed, now) if completed else set()
            accepted.update(_key(each.claim) for each in others if self._end_attempt(each, now))
            for key, each in first.items():
                if each.children and key in accepted:
                    self.add(each.children)
        # Others may have waited for their places.
        self._ready = self._ready or any(
            each.claim.limited or each.claim.queue in self._limited for each in settlements
        )
        return first_of_each([_key(each.claim) for each in settlements], accepted)

    def _complete(self, settlements: Sequence[Settlement], now: float) -> set[_Key]:
        """Move completed jobs to the history; two statements more for any number of them."""
        rows = (final_row(each, JobState.COMPLETED, now) for each in settlements)
        finished = self._database.write_many("finish", rows)
        values = {"ids": json.dumps([row[0] for row in finished])}
        for statement in followed_by(JobState.COMPLETED):
            self._ready = bool(self._database.write(statement, values)) or self._ready
        return {(job_id, attempt, worker) for job_id, attempt, worker in finished}

    def _end_attempt(self, settlement: Settlement, now: float) -> bool:
        state = final_state(settlement.outcome)
        if state is not None:
            return self._finish(final_row(settlement, state, now))
        self._ready = True
        if not self._queue_again("requeue", again_row(settlement)):
            return False
        self._database.write("attempt", attempt_row(settlement, now))
        return True

    def report(self, reports: Sequence[Report]) -> Sequence[bool]:
        """Write how far running attempts have come."""
        with self.transaction():
            return [
                bool(
                    self._database.write("report", {**fence(each.claim), "progress": each.progress})
                )
                for each in reports
            ]

    def cancelling(self, worker: str) -> Sequence[Cancelling]:
        """The attempts of a worker that somebody wants to end."""
        return [Cancelling(*row) for row in self._database.read("cancelling", {"worker": worker})]

    def _finish(self, final: Values) -> bool:
        """Move a job that did not complete to the history, and what stops with it."""
        if not self._database.write("finish", final):
            return False
        for statement in followed_by(final["state"]):
            self._ready = bool(self._database.write(statement, final)) or self._ready
        return True

    # ------------------------------------------------------------------ upkeep

    def recover(self, limit: int, lease: float) -> Sequence[Recovered]:
        """Take the jobs of workers that died or let their lease run out."""
        now = self._clock.now()
        self._database.require_same_file()
        self._database.warn_of_growth()
        with self._database.errors():
            gone = self._gone()
        if not gone and not self._database.read("lost", {"limit": 1}):
            return []  # the usual case writes nothing
        with self.transaction():
            gone = self._gone()  # again under the lock: a lease may have been renewed meanwhile
            self._database.write_many("leave", ({"worker": worker} for worker in gone))
            rows = self._database.write("lost", {"limit": limit})
            recovered = [each for row in rows if (each := self._recover(row, gone, now, lease))]
        for worker in gone:
            self._locks.drop(worker)
        self._ready = self._ready or bool(recovered)
        return recovered

    def _gone(self) -> dict[str, bool]:
        """The workers that died or let their lease run out, and whether they had retired."""
        rows = self._database.write("leases", {})
        self._sightings.forget_all_but({row[0] for row in rows})
        return {
            worker: bool(retired)
            for worker, expires_at, lease, retired in rows
            if self._sightings.note(worker, expires_at) >= lease or self._locks.is_dead(worker)
        }

    def _recover(
        self, row: Row, gone: Mapping[str, bool], now: float, lease: float
    ) -> Recovered | None:
        """What became of a lost job; None if the poison before it has stopped it just now."""
        job = Lost(*row)
        retired = gone.get(job.worker, False)
        outcome = job.outcome(retired=retired, lease=lease)
        state = final_state(outcome)
        lost = job.lost + (not retired)
        values = lost_row(job, outcome, now, lost=not retired)
        if state is not None:
            ended = self._finish({**values, "state": state.value})
        elif ended := bool(self._database.write("requeue", values)):
            self._database.write("attempt", values)
        return (
            Recovered(job.id, job.task, job.attempt, lost, state or JobState.QUEUED)
            if ended
            else None
        )

    def purge(self, before: float, limit: int) -> int:
        """Delete the oldest history, and the starts that no rate counts any more."""
        with self.transaction():
            rows = self._database.write("purge", {"before": before, "limit": limit})
            ids = json.dumps([row[0] for row in rows])
            self._database.write("forget_attempts", {"ids": ids})
            self._database.write("purge_rates", {"now": self._clock.now(), "limit": limit})
        return len(rows)

    def announce(self) -> None:
        """Jobs were committed on another connection of this process."""
        self._ready = True

    def changed(self) -> bool:
        """Whether another process has committed, or our own writes made something claimable."""
        ready, self._ready = self._ready, False
        version = self._database.version_of_others()
        seen, self._seen_version = self._seen_version, version
        return ready or version != seen


def _key(claim: Claim) -> _Key:
    return claim.id, claim.attempt, claim.worker
