"""Jobs in a SQLite file: the embedded default.

WAL with `synchronous=FULL`: a commit survives power loss. Writers begin with BEGIN IMMEDIATE, so
they queue for the lock instead of failing to upgrade to it. Any number of processes of one machine
may open the file, each with one writing connection and one that only reads.

The driver is apsw because it brings its own, current SQLite: before 3.51.3 several writers could
corrupt a WAL database (https://sqlite.org/wal.html, section 11). Do not open the same file with
another SQLite library in the same process: POSIX drops a file's locks when either closes it.
"""

import functools
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import apsw

from afterword.clock import Clock, as_datetime
from afterword.errors import SchemaTooNew, StoreCorrupt, StoreError, StoreUnavailable
from afterword.job import Job, JobRecord, JobState
from afterword.outcome import Cancelled, Completed, Failed, Outcome, Released, Retry
from afterword.store import MAX_LOST, Claim, Putback, Recovered, Settlement, recovery_delay
from afterword.stores.sqlite.locks import Locks
from afterword.stores.sqlite.path import check_path, path_of

BUSY_TIMEOUT = 10.0  # seconds a writer waits for the other processes' transactions
_APPLICATION_ID = 0x41465457  # "AFTW", in the file's header (PRAGMA application_id)
_WAL_LIMIT = 64 * 1024 * 1024  # bytes a WAL file keeps after a checkpoint
_LAST_ID = "~"  # sorts behind every id
_STOPPED = "an earlier task of this request failed"
_POISON = f"poison: {MAX_LOST} workers were lost while they ran this job"

_FINAL: Mapping[type[Outcome], JobState] = {
    Completed: JobState.COMPLETED,
    Failed: JobState.FAILED,
    Cancelled: JobState.CANCELLED,
}

Row = tuple[Any, ...]
Values = Mapping[str, Any]


class SQLiteStore:
    """A store in one file.

    Args:
        path: the file; created, readable by its owner only, when it does not exist.
        clock: whose time leases and due times are measured in.

    Example:
        >>> store = SQLiteStore(Path("jobs.db"))
        >>> store.url
        'sqlite:///jobs.db'
    """

    durability = "power-loss"

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._clock = clock or Clock()
        self._locks = Locks(path)
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._reading = threading.Lock()
        self._in_transaction = False
        self._ready = False  # our own writes made something claimable
        self._seen_version = 0

    @classmethod
    def from_url(cls, url: str) -> "SQLiteStore":
        """The store a `sqlite:///` URL names."""
        return cls(path_of(url))

    # ------------------------------------------------------------------ open and close

    def open(self) -> None:
        """Create the file if there is none, migrate it, and take it into use."""
        if self._writer is not None:
            return
        check_path(self.path)
        try:
            with self._errors():
                self._take_into_use()
        except BaseException:
            self.close()  # a refused file must not look open to the next call
            raise

    def _take_into_use(self) -> None:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._writer = self._connect()
        self._migrate()
        self._reader = self._connect()
        self._reader.execute("PRAGMA query_only = ON")
        self._seen_version = self._data_version()

    def close(self) -> None:
        """Close both connections and drop every lock."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        self._locks.drop_all()

    def _connect(self) -> apsw.Connection:
        """A connection; waits for processes that open or close the same file at this moment.

        SQLite itself does not: it calls no busy handler when it changes the journal mode.
        """
        deadline = self._clock.monotonic() + BUSY_TIMEOUT
        while True:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                self._set_up(connection)
            except BaseException as error:
                connection.close()
                if not isinstance(error, apsw.BusyError) or self._clock.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return connection

    def _set_up(self, connection: apsw.Connection) -> None:
        connection.set_busy_timeout(int(BUSY_TIMEOUT * 1000))
        self._require_ours(connection)  # before anything is written, the journal mode included
        connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")

    def _migrate(self) -> None:
        """Bring the file to this release's schema; processes that start together take turns."""
        migrations = _migrations()
        writer = self._connection
        if self._version() > len(migrations):
            raise SchemaTooNew(
                f"{self.path} has schema {self._version()}, but this release of Afterword knows"
                f" schemas up to {len(migrations)}. Upgrade it here too: older code must not write."
            )
        with self.transaction():
            for number, migration in enumerate(migrations, start=1):
                if number > self._version():
                    writer.execute(migration)
                    writer.execute(f"PRAGMA user_version = {number}")
            writer.execute(f"PRAGMA application_id = {_APPLICATION_ID}")

    def _version(self) -> int:
        return int(self._connection.pragma("user_version"))

    def _require_ours(self, connection: apsw.Connection) -> None:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables != (0,) and connection.pragma("application_id") != _APPLICATION_ID:
            raise StoreCorrupt(
                f"The store must be a file of its own, but {self.path} holds other tables."
                " Give Afterword another file name, such as sqlite:///jobs.db"
            )

    @property
    def _connection(self) -> apsw.Connection:
        if self._writer is None:
            raise StoreUnavailable(f"The store {self.url} is not open.")
        return self._writer

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One BEGIN IMMEDIATE ... COMMIT around the verbs called inside."""
        if self._in_transaction:
            yield
            return
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            self._in_transaction = True
            try:
                yield
                self._commit()
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._in_transaction = False

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The driver's errors become ours."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreCorrupt(
                f"{self.path} is damaged or not a SQLite database ({error}). Keep a copy, then try:"
                f" sqlite3 {self.path} .recover | sqlite3 recovered.db"
            ) from error
        except (
            apsw.BusyError,
            apsw.CantOpenError,
            apsw.FullError,
            apsw.IOError,
            apsw.LockedError,
            apsw.PermissionsError,
            apsw.ProtocolError,
            apsw.ReadOnlyError,
            OSError,  # of the files beside the database
        ) as error:
            raise StoreUnavailable(f"The store {self.path} cannot be used now: {error}.") from error
        except apsw.Error as error:
            raise StoreError(f"The store {self.path} refused a statement: {error}.") from error

    def _rows(self, statement: str, values: Values) -> list[Row]:
        return self._connection.execute(_sql(statement), dict(values)).fetchall()

    def _many(self, statement: str, values: Iterable[Values]) -> list[Row]:
        return self._connection.executemany(
            _sql(statement), (dict(each) for each in values)
        ).fetchall()

    # ------------------------------------------------------------------ workers

    def join(self, worker: str, lease: float) -> None:
        """Announce a worker, and hold its lock from before anyone can see it."""
        with self._errors():
            self._locks.hold(worker)
        with self.transaction():
            self._rows(
                "join",
                {
                    "worker": worker,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "lease": lease,
                    "now": self._clock.now(),
                },
            )

    def renew(self, worker: str, lease: float) -> bool:
        """Extend the worker's lease, unless it has been taken off the list."""
        with self.transaction():
            values = {"worker": worker, "lease": lease, "now": self._clock.now()}
            return bool(self._rows("renew", values))

    def leave(self, worker: str) -> None:
        """Take the worker off the list and drop its lock."""
        with self.transaction():
            self._rows("leave", {"worker": worker})
        self._locks.drop(worker)

    # ------------------------------------------------------------------ the life of a job

    def add(self, jobs: Sequence[Job], held_by: str | None = None) -> Sequence[bool]:
        """Store jobs, each as it says: queued, or held by the worker that stores it."""
        now = self._clock.now()
        with self.transaction():
            added = {
                row[0] for row in self._many("add", (_new_row(job, held_by, now) for job in jobs))
            }
            self._ready = self._ready or any(not job.held and job.after is None for job in jobs)
        return [_take(job.id, added) for job in jobs]

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        with self.transaction():
            accepted = [bool(self._rows("release", _release_row(each))) for each in putbacks]
        self._ready = True
        return accepted

    def discard(self, claims: Sequence[Claim]) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        accepted = []
        with self.transaction():
            for claim in claims:
                rows = self._rows("discard", _fence(claim))
                accepted.append(bool(rows))
                for (after,) in rows:
                    self._ready = (
                        bool(self._rows("move_up", {"id": claim.id, "after": after})) or self._ready
                    )
        return accepted

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Take due jobs, lane by lane: (priority, run_at, id) within each queue."""
        claims: list[Claim] = []
        values = {"worker": worker, "now": self._clock.now(), "skip": json.dumps(list(skip))}
        with self.transaction():
            for queue in queues:
                for (priority,) in self._rows("lanes", {"queue": queue}):
                    if len(claims) >= limit:
                        return claims
                    lane = {"queue": queue, "priority": priority, "limit": limit - len(claims)}
                    rows = sorted(self._rows("claim", {**values, **lane}))
                    claims.extend(_claim(row) for row in rows)
        return claims

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        now = self._clock.now()
        with self.transaction():
            return [self._settle(each, now) for each in settlements]

    def _settle(self, settlement: Settlement, now: float) -> bool:
        state = _FINAL.get(type(settlement.outcome))
        if state is None:
            self._ready = True
            return bool(self._rows("requeue", _again_row(settlement)))
        return self._finish(_final_row(settlement, state, now))

    def _finish(self, final: Values) -> bool:
        """Move a job to the history, and tell those who waited for it."""
        if not self._rows("finish", final):
            return False
        ended = [{"id": final["id"]}]
        if final["state"] != JobState.COMPLETED:
            ended += [{"id": row[0]} for row in self._rows("stopped", {"id": final["id"]})]
            self._many(
                "cancel", ({**each, "reason": _STOPPED, "now": final["now"]} for each in ended[1:])
            )
        self._many("remove", ended)
        self._ready = bool(self._many("follow", ended)) or self._ready
        return True

    # ------------------------------------------------------------------ upkeep

    def recover(self, limit: int, lease: float) -> Sequence[Recovered]:
        """Take the jobs of workers that died or let their lease run out."""
        now = self._clock.now()
        with self._errors():
            expired, dead = self._gone(now)
        if not expired and not dead and not self._read("lost", {"limit": 1}):
            return []  # the usual case writes nothing
        with self.transaction():
            # Read again under the lock: a lease may have been renewed meanwhile.
            expired, _ = self._gone(now)
            self._many("leave", ({"worker": worker} for worker in {*expired, *dead}))
            rows = self._rows("lost", {"limit": limit})
            recovered = [each for row in rows if (each := self._recover(row, now, lease))]
        for worker in {*expired, *dead}:
            self._locks.drop(worker)
        self._ready = self._ready or bool(recovered)
        return recovered

    def _gone(self, now: float) -> tuple[list[str], list[str]]:
        workers = self._rows("workers", {})
        expired = [worker for worker, expires_at in workers if expires_at <= now]
        return expired, [worker for worker, _ in workers if self._locks.is_dead(worker)]

    def _recover(self, row: Row, now: float, lease: float) -> Recovered | None:
        """What became of a lost job; None if the poison before it has stopped it just now."""
        job_id, attempt, worker, task, lost = row
        fence = {"id": job_id, "attempt": attempt, "worker": worker}
        lost += 1
        if lost >= MAX_LOST:
            failed = {"state": JobState.FAILED, "error": _POISON, "started_at": None, "now": now}
            finished = self._finish({**fence, **failed, "lost": 1})
            return Recovered(job_id, task, attempt, lost, JobState.FAILED) if finished else None
        at = now + recovery_delay(lost, lease)
        reason = f"worker {worker} was lost during attempt {attempt}"
        again = {**fence, "at": at, "error": reason, "interrupted": 0, "lost": 1}
        if not self._rows("requeue", again):
            return None
        return Recovered(job_id, task, attempt, lost, JobState.QUEUED)

    def purge(self, before: float, limit: int) -> int:
        """Delete the oldest history."""
        with self.transaction():
            return len(self._rows("purge", {"before": before, "limit": limit}))

    def changed(self) -> bool:
        """Whether another process has committed, or our own writes made something claimable."""
        ready, self._ready = self._ready, False
        with self._errors():
            version = self._data_version()
        seen, self._seen_version = self._seen_version, version
        return ready or version != seen

    def _data_version(self) -> int:
        # The pragma, not `Connection.data_version()`: that one also counts our own commits.
        return int(self._connection.execute("PRAGMA data_version").get)

    # ------------------------------------------------------------------ for people, from any thread

    def get(self, ids: Sequence[str]) -> Sequence[JobRecord]:
        """The jobs with these ids."""
        return [_record(row) for row in self._read("get", {"ids": json.dumps(list(ids))})]

    def find(
        self, state: JobState | None = None, limit: int = 100, before: str | None = None
    ) -> Sequence[JobRecord]:
        """A page of jobs, newest first."""
        rows = self._read("find", {"state": state, "limit": limit, "before": before or _LAST_ID})
        return [_record(row) for row in rows]

    def count(self) -> Mapping[JobState, int]:
        """How many jobs are in each state."""
        counts = dict.fromkeys(JobState, 0)
        counts.update({JobState(state): number for state, number in self._read("count", {})})
        return counts

    def _read(self, statement: str, values: Values) -> list[Row]:
        with self._reading, self._errors():
            if self._reader is None:
                raise StoreUnavailable(f"The store {self.url} is not open.")
            return self._reader.execute(_sql(statement), dict(values)).fetchall()


@functools.cache
def _sql(statement: str) -> str:
    return (resources.files(__package__) / "sql" / f"{statement}.sql").read_text()


def _migrations() -> list[str]:
    files = (resources.files(__package__) / "migrations").iterdir()
    return [file.read_text() for file in sorted(files, key=lambda file: file.name)]


def _take(job_id: str, added: set[str]) -> bool:
    """Whether the job was added; the second of two with one id was not."""
    if job_id not in added:
        return False
    added.remove(job_id)
    return True


def _new_row(job: Job, held_by: str | None, now: float) -> Values:
    held = job.held and held_by is not None
    return {
        "id": job.id,
        "task": job.task,
        "arguments": job.arguments,
        "queue": job.queue,
        "priority": job.priority,
        "state": "running" if held else "queued",
        "run_at": now if job.run_at is None else job.run_at,
        "attempt": int(held),
        "worker": held_by if held else None,
        "after": job.after,
        "on_failure": job.on_failure,
        "request_id": job.request_id,
        "now": now,
    }


def _claim(row: Row) -> Claim:
    _, job_id, attempt, worker, task, arguments, created_at = row
    text = arguments.decode(errors="replace")
    return Claim(job_id, attempt, worker, task.decode(errors="replace"), text, created_at)


def _fence(claim: Claim) -> dict[str, Any]:
    return {"id": claim.id, "attempt": claim.attempt, "worker": claim.worker}


def _release_row(putback: Putback) -> Values:
    return {**_fence(putback.claim), "at": putback.at or 0.0, "reason": putback.reason}


def _final_row(settlement: Settlement, state: JobState, now: float) -> Values:
    outcome = settlement.outcome
    error = outcome.error if isinstance(outcome, Failed) else None
    return {
        **_fence(settlement.claim),
        "state": state,
        "error": outcome.reason if isinstance(outcome, Cancelled) else error,
        "started_at": settlement.started_at,
        "lost": 0,
        "now": now,
    }


def _again_row(settlement: Settlement) -> Values:
    outcome = settlement.outcome
    retry = outcome if isinstance(outcome, Retry) else None
    return {
        **_fence(settlement.claim),
        "at": retry.at if retry else 0.0,
        "error": retry.error if retry else "interrupted by a shutdown",
        "interrupted": int(isinstance(outcome, Released)),
        "lost": 0,
    }


def _record(row: Row) -> JobRecord:
    *fields, created_at, run_at, started_at, finished_at = row
    names = (
        "id",
        "task",
        "arguments",
        "queue",
        "priority",
        "state",
        "attempt",
        "lost",
        "interrupted",
        "worker",
        "after",
        "on_failure",
        "request_id",
        "error",
    )
    values = dict(zip(names, fields, strict=True))
    values["state"] = JobState(values["state"])
    return JobRecord(
        **values,
        created_at=as_datetime(created_at),
        run_at=as_datetime(run_at),
        started_at=as_datetime(started_at) if started_at is not None else None,
        finished_at=as_datetime(finished_at) if finished_at is not None else None,
    )
