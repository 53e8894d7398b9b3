"""Jobs in PostgreSQL: for any number of machines.

Everything lives in the schema `afterword` of the application's database, or of one of its own. The
statements are set-based (one for any number of jobs), leases and due times are measured by the
server's clock, and workers are told of new jobs by NOTIFY, sent after the commit; what that misses
is found by polling.

Two connections for each process: one writes, for the store's thread; one is for people, and for any
thread. A process that runs jobs has a third one, which listens.

A worker on this machine whose process has died is noticed at once, by its lock file; one on another
machine when its lease has run out.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from afterword import telemetry
from afterword.clock import Clock
from afterword.errors import MissingExtra, StoreCorrupt, StoreUnavailable
from afterword.job import JobState, NewJob
from afterword.store import (
    MAX_LOST,
    STOPPED,
    Claim,
    Putback,
    Recovered,
    Settlement,
    Statement,
    recovery_delay,
)
from afterword.stores import migrations
from afterword.stores.locks import Locks, shared_directory

try:
    from afterword.stores.postgres.listener import Listener
except ImportError as error:
    raise MissingExtra("A store in PostgreSQL", "afterword[postgres]") from error

from afterword.stores.postgres.acting import Acting
from afterword.stores.postgres.desk import Desk
from afterword.stores.postgres.looking import Looking
from afterword.stores.postgres.rows import (
    again_rows,
    claim_of,
    columns,
    fence,
    final_rows,
    new_rows,
    release_rows,
)
from afterword.stores.postgres.session import CHANNEL, Session, text_of
from afterword.stores.postgres.url import parameters_of, shown
from afterword.stores.rows import (
    INTERRUPTED,
    POISON,
    Row,
    Values,
    final_state,
    first_of_each,
    lost_during,
)

_TIMEOUT = 10.0  # seconds one statement may take
_MIGRATE_WITHIN = 3600.0  # seconds, for a large history, or for somebody else to do it
_MIGRATION_LOCK = 0x41465457  # "AFTW": the key of the advisory lock under which stores migrate


class PostgresStore(Looking, Acting):
    """A store in a PostgreSQL database.

    Args:
        url: postgresql://user:password@host:5432/database, with libpq's options behind a "?".
        clock: this process's own; only distances are taken from it.
        timeout: seconds one statement may take. Default: 10.

    Raises:
        ConfigurationError: the URL cannot be read.
        MissingExtra: the driver is not installed.
    """

    def __init__(self, url: str, clock: Clock | None = None, timeout: float = _TIMEOUT) -> None:
        self._parameters = parameters_of(url, timeout)
        self.url = shown(self._parameters)
        self.durability = "power-loss"
        self.identity = ""
        self._clock = clock or Clock()
        self._writer = Session(self._parameters, timeout, self._clock)
        self._desk = Desk(Session(self._parameters, timeout, self._clock), self._writer)
        self._listener = Listener(self._parameters)
        self._locks = Locks(None)  # until it is open
        self._opened = False
        self._ready = False  # our own writes made something claimable

    # ------------------------------------------------------------------ open and close

    def open(self, create: bool = True) -> None:
        """Connect; create or migrate the schema `afterword` if need be."""
        if self._opened:
            return
        try:
            with self._writer.errors():
                self._prepare(create)
        except BaseException:
            self._writer.close()
            raise
        self._opened = self._desk.open = True
        self._ready = True
        if self._writer.pooled:
            telemetry.polling(self.url)

    def _prepare(self, create: bool) -> None:
        if self._missing():
            if not create:
                raise StoreUnavailable(
                    f"{self.url} has no Afterword store of this release's schema."
                    " Make or migrate it: afterword db migrate --url ..."
                )
            self._migrate()
        row = self._writer.connection().execute(text_of("identity")).fetchone()
        if row is None:
            raise StoreCorrupt(f"{self.url}: the table afterword.store has lost its only row.")
        self.identity = row[0]
        self._locks = Locks(shared_directory(self.identity))
        self.durability = self._measure_durability()

    def _missing(self) -> Sequence[migrations.Migration]:
        connection = self._writer.connection()
        # Not to_regclass(): it goes on saying no after we have waited for another's migration.
        exists = connection.execute(
            "SELECT FROM pg_catalog.pg_tables"
            " WHERE schemaname = 'afterword' AND tablename = 'migrations'"
        ).fetchone()
        applied: list[Row] = []
        if exists is not None:
            applied = connection.execute(
                "SELECT version, oldest FROM afterword.migrations"
            ).fetchall()
        rows = [(version, oldest) for version, oldest in applied]
        return migrations.missing(_MIGRATIONS, rows, self.url)

    def _migrate(self) -> None:
        """Processes that start together take turns."""
        with self._writer.transaction():
            connection = self._writer.connection()
            connection.answer_within = _MIGRATE_WITHIN
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL lock_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            for migration in self._missing():
                for statement in _statements(migration):
                    connection.execute(statement)
            self._writer.execute("unblock_all")
        self._writer.close()  # the next connection has the usual limits

    def _measure_durability(self) -> str:
        settings = ("fsync", "full_page_writes", "synchronous_commit")
        rows = self._writer.connection().execute(
            "SELECT setting FROM pg_settings WHERE name = ANY (%s)", [list(settings)]
        )
        return "process-crash" if ("off",) in rows.fetchall() else "power-loss"

    def close(self) -> None:
        """Close every connection and drop every lock."""
        self._listener.stop()
        self._writer.close()
        self._desk.close()
        self._locks.drop_all()
        self._opened = False

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._listener.forget()
        self._writer.forget()
        self._desk.forget()
        self._locks.forget()
        self._opened = False

    def script(self) -> str:
        """All migrations as SQL."""
        statements = [text for each in _MIGRATIONS for text in _statements(each)]
        return "BEGIN;\n" + ";\n".join(statements) + ";\nCOMMIT;\n"

    def transaction(self) -> AbstractContextManager[None]:
        """One BEGIN ... COMMIT around the verbs called inside."""
        return self._writing()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._require_open()
        with self._writer.transaction():
            yield

    def _require_open(self) -> None:
        if not self._opened:
            raise StoreUnavailable(f"The store {self.url} is not open.")

    def _write(self, statement: str, values: Values | None = None) -> list[Row]:
        return self._writer.execute(statement, values)

    def _announce(self) -> None:
        """Something became claimable: here, and for the others once it is committed."""
        self._ready = self._writer.announcing = True

    # ------------------------------------------------------------------ workers

    def join(
        self, worker: str, lease: float, queues: Sequence[str] = (), concurrency: int = 0
    ) -> None:
        """Announce a worker, and hold its lock from before anyone can see it."""
        with self._writer.errors(), self._lock_errors():
            self._locks.hold(worker)
        values = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": list(queues),
            "concurrency": concurrency,
            "lease": lease,
        }
        with self.transaction():
            self._write("join", values)

    @contextmanager
    def _lock_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(f"A lock file cannot be made: {error}.") from error

    def renew(self, worker: str, lease: float) -> bool:
        """Extend the worker's lease, unless it has been taken off the list.

        A commit of which nobody knows the end may have given this worker jobs: it starts afresh.
        """
        with self.transaction():
            renewed = bool(self._write("renew", {"worker": worker, "lease": lease}))
        in_doubt, self._writer.in_doubt = self._writer.in_doubt, False
        return renewed and not in_doubt

    def retire(self, worker: str) -> None:
        """Note that the worker is shutting down."""
        with self.transaction():
            self._write("retire", {"worker": worker})

    def leave(self, worker: str) -> None:
        """Take the worker off the list and drop its lock."""
        with self.transaction():
            self._write("leave", {"worker": worker})
        self._locks.drop(worker)

    # ------------------------------------------------------------------ the life of a job

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[bool]:
        """Store jobs, each as it says: queued, or held by the worker that stores it."""
        ids = {job.id for job in jobs}
        followers = [job for job in jobs if job.after is not None]
        elsewhere = [job.after for job in followers if job.after not in ids]
        with self.transaction():
            if elsewhere:
                self._write("hold_predecessors", {"ids": elsewhere})
            added = {row[0] for row in self._write("add", new_rows(jobs, held_by))}
            if followers:
                self._write("unblock", {"ids": [job.id for job in followers if job.id in added]})
            if any(not job.held or held_by is None for job in jobs):
                self._announce()
        return first_of_each([job.id for job in jobs], added)

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Queue jobs again whose attempts were never started."""
        with self.transaction():
            rows = self._write("release", release_rows(putbacks, self._clock.now()))
            released = {row[0] for row in rows}
            self._announce()
        return first_of_each([each.claim.id for each in putbacks], released)

    def discard(self, claims: Sequence[Claim]) -> Sequence[bool]:
        """Delete held jobs and close the gap they leave in their request's order."""
        with self.transaction():
            return [self._discard(claim) for claim in claims]

    def _discard(self, claim: Claim) -> bool:
        values = dict(zip(("id", "attempt", "worker"), fence(claim), strict=True))
        rows = self._write("discard", values)
        if rows and rows[0][0]:
            self._announce()
        return bool(rows)

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Take due jobs, lane by lane: (priority, run_at, id) within each queue."""
        values = {"worker": worker, "queues": list(queues), "limit": limit, "skip": list(skip)}
        with self.transaction():
            rows = self._write("claim", values)
        return [claim_of(row) for row in sorted(rows)]

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes; final jobs move to the history and let their followers go on."""
        now = self._clock.now()
        first = {each.claim.id: each for each in reversed(settlements)}  # of two for one job
        ending = [
            (each, state)
            for each in first.values()
            if (state := final_state(each.outcome)) is not None
        ]
        again = [each for each in first.values() if final_state(each.outcome) is None]
        with self.transaction():
            accepted = self._finish(final_rows(ending, now)) if ending else set()
            if again:
                accepted |= {row[0] for row in self._write("requeue", again_rows(again, now))}
                self._announce()
        return [first[each.claim.id] is each and each.claim.id in accepted for each in settlements]

    def _finish(self, final: Values) -> set[str]:
        """Move jobs to the history, and tell those who waited for them."""
        finished = {row[0] for row in self._write("finish", final)}
        states = zip(final["ids"], final["states"], strict=True)
        failed = [job_id for job_id, state in states if state != "completed" and job_id in finished]
        self._end_followers(finished, failed)
        return finished

    def _end_followers(self, ended: set[str], failed: Sequence[str]) -> None:
        if failed:
            stopped = self._write("stop", {"ids": failed, "reason": STOPPED})
            ended = ended | {row[0] for row in stopped}
        if ended and self._write("follow", {"ids": sorted(ended)}):
            self._announce()

    # ------------------------------------------------------------------ upkeep

    def recover(self, limit: int, lease: float) -> Sequence[Recovered]:
        """Take the jobs of workers that died or let their lease run out."""
        self._require_open()
        ((members, lost),) = self._writer.ask("members")
        dead = [worker for worker in members if self._locks.is_dead(worker)]
        if not dead and not lost:
            return []  # the usual case
        with self.transaction():
            gone: dict[str, bool] = {row[0]: row[1] for row in self._write("expel", {"dead": dead})}
            rows = self._write("lost", {"limit": limit})
            recovered = self._recover(rows, gone, lease)
        for worker in gone:
            self._locks.drop(worker)
        return recovered

    def _recover(
        self, rows: Sequence[Row], gone: Mapping[str, bool], lease: float
    ) -> Sequence[Recovered]:
        """What became of lost jobs; those that the poison among them has stopped are left out."""
        poison = [row for row in rows if not gone.get(row[2]) and row[4] + 1 >= MAX_LOST]
        others = [row for row in rows if row not in poison]
        failed = self._finish(_poison_rows(poison)) if poison else set()
        queued = {row[0] for row in self._write("requeue", _lost_rows(others, gone, lease))}
        if queued:
            self._announce()
        return [
            Recovered(
                job_id,
                task,
                attempt,
                lost + (not gone.get(worker)),
                JobState.FAILED if job_id in failed else JobState.QUEUED,
            )
            for job_id, attempt, worker, task, lost in rows
            if job_id in failed or job_id in queued
        ]

    def purge(self, before: float, limit: int) -> int:
        """Delete the oldest history."""
        self._require_open()
        values = {"age": self._clock.now() - before, "limit": limit}
        return len(self._writer.ask("purge", values))

    def changed(self) -> bool:
        """Whether something was announced, or our own writes made something claimable."""
        if self._opened and not self._listener.started and not self._writer.pooled:
            self._listener.start()
        ready, self._ready = self._ready, False
        return self._listener.heard() or ready

    def announce(self) -> None:
        """Jobs were committed on a connection that is not ours."""
        with self.transaction():
            self._announce()

    # ------------------------------------------------------------------ in the user's transaction

    def adding(self, jobs: Sequence[NewJob]) -> Sequence[Statement]:
        """What adds these jobs on another connection to this database."""
        followers = [job.id for job in jobs if job.after is not None]
        added = [Statement(text_of("add"), new_rows(jobs, None))]
        if not followers:
            return added
        predecessors = {"ids": [job.after for job in jobs if job.after is not None]}
        return [
            Statement(text_of("hold_predecessors"), predecessors),
            *added,
            Statement(text_of("unblock"), {"ids": followers}),
        ]

    def completing(self, settlement: Settlement) -> Sequence[Statement]:
        """What settles a completed attempt there."""
        final = final_rows([(settlement, JobState.COMPLETED)], self._clock.now())
        return [
            Statement(text_of("finish"), final),
            Statement(text_of("follow"), {"ids": [settlement.claim.id]}),
        ]

    def announcing(self) -> Sequence[Statement]:
        """What tells the workers there, when its transaction commits."""
        return [Statement(f"SELECT pg_notify('{CHANNEL}', '')", {})]

    def identifying(self) -> Statement:
        """What returns this store's identity there."""
        return Statement(text_of("identity"), {})


_MIGRATIONS = migrations.load(__package__ or "")


def _statements(migration: migrations.Migration) -> Sequence[str]:
    """A migration, and the note that it was applied; the first makes the place for both."""
    note = (
        "INSERT INTO afterword.migrations (version, oldest)"  # noqa: S608 - two numbers
        f" VALUES ({migration.version}, {migration.oldest})"
    )
    place = [
        "CREATE SCHEMA IF NOT EXISTS afterword",
        "CREATE TABLE afterword.migrations (version integer PRIMARY KEY, oldest integer NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())",
    ]
    body = [text.strip() for text in migration.sql.split(";\n") if text.strip()]
    return [*(place if migration.version == 1 else []), *body, note]


def _lost_rows(rows: Sequence[Row], gone: Mapping[str, bool], lease: float) -> Values:
    """The values of requeue.sql for jobs whose worker was lost, or had retired."""
    return columns(
        "ids attempts workers delays errors interrupted lost",
        (
            (job_id, attempt, worker, 0.0, INTERRUPTED, 1, 0)
            if gone.get(worker)
            else (
                job_id,
                attempt,
                worker,
                recovery_delay(lost + 1, lease),
                lost_during(worker, attempt),
                0,
                1,
            )
            for job_id, attempt, worker, _, lost in rows
        ),
    )


def _poison_rows(rows: Sequence[Row]) -> Values:
    """The values of finish.sql for jobs that lost their last worker."""
    return columns(
        "ids attempts workers states errors ages lost",
        (
            (job_id, attempt, worker, JobState.FAILED.value, POISON, None, 1)
            for job_id, attempt, worker, _, _ in rows
        ),
    )
