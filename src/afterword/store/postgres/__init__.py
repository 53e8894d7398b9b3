"""Jobs in PostgreSQL: for any number of machines.

Everything lives in the schema `afterword` of the application's database, or of one of its own. The
statements are set-based (one for any number of jobs), leases and due times are measured by the
server's clock, and workers are told of new jobs by NOTIFY, sent after the commit; what that misses
is found by polling.

Two connections for each process: one writes, for the store's thread; one is for people, and for any
thread. A process that runs jobs has a third one, which listens.

A worker on this machine whose process has died is noticed at once, by its lock file; one on another
machine when its lease has run out.

How jobs get in is in `adding.py`, who gets them in `claiming.py`, how they end in `settling.py`.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from afterword import telemetry
from afterword.errors import MissingExtra, StoreCorrupt, StoreUnavailable
from afterword.model.clock import Clock
from afterword.store import migrations
from afterword.store.locks import Locks, shared_directory

try:
    from afterword.store.postgres.listener import Listener
except ImportError as error:
    raise MissingExtra("A store in PostgreSQL", "afterword[postgres]") from error

from afterword.store.postgres.actions import Actions
from afterword.store.postgres.claiming import Claiming, Contested
from afterword.store.postgres.people import PeopleConnection
from afterword.store.postgres.queries import Queries
from afterword.store.postgres.scheduling import Scheduling
from afterword.store.postgres.session import IMPATIENT, PLANS, Session, text_of
from afterword.store.postgres.settling import FIRST_ID, Settling
from afterword.store.postgres.url import parameters_of, shown
from afterword.store.postgres.user_transaction import UserTransaction
from afterword.store.rows import Row

_TIMEOUT = 10.0  # seconds one statement may take
_LOOK_EVERY, _LOOK_OFTEN = 1.0, 0.05  # seconds between looks for what no listener has told
_REMIND_AFTER = 0.02  # seconds after which what others were deciding on is looked at again
_MIGRATE_WITHIN = 3600.0  # seconds, for a large history, or for somebody else to do it
_MIGRATION_LOCK = 0x41465457  # "AFTW": the key of the advisory lock under which stores migrate


class PostgresStore(Queries, Actions, Claiming, Settling, Scheduling, UserTransaction):
    """A store in a PostgreSQL database.

    Args:
        url: postgresql://user:password@host:5432/database, with libpq's options behind a "?".
        clock: this process's own, for what it waits for; nothing that is stored depends on it.
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
        settings = {**PLANS, **IMPATIENT}
        self._writer = Session(self._parameters, timeout, self._clock, settings)
        self._people = PeopleConnection(
            Session(self._parameters, timeout, self._clock), self._writer
        )
        self._listener = Listener(self._parameters, lambda pid: pid == self._writer.server_process)
        self._locks = Locks(None)  # until it is open
        self._opened = False
        self._ready = False  # our own writes made something claimable
        self._heard: Callable[[], object] | None = None
        self._contested = Contested(self._clock)
        self._looked_to = FIRST_ID  # where `free_followers` goes on

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
        self._opened = self._people.open = True
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
        self._writer.close()  # the next connection has the usual limits

    def _measure_durability(self) -> str:
        settings = ("fsync", "full_page_writes", "synchronous_commit")
        rows = self._writer.connection().execute(
            "SELECT setting FROM pg_settings WHERE name = ANY (%s)", [list(settings)]
        )
        return "process-crash" if ("off",) in rows.fetchall() else "power-loss"

    def close(self) -> None:
        """Close every connection and drop every lock."""
        self._heard = None
        self._listener.stop()
        self._writer.close()
        self._people.close()
        self._locks.drop_all()
        self._opened = False

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._heard = None
        self._listener.forget()
        self._writer.forget()
        self._people.forget()
        self._locks.forget()
        self._opened = False

    def script(self) -> str:
        """All migrations as SQL."""
        statements = [text for each in _MIGRATIONS for text in _statements(each)]
        return "BEGIN;\n" + ";\n".join(statements) + ";\nCOMMIT;\n"

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

    # ------------------------------------------------------------------ upkeep

    def purge(self, retention: float, limit: int) -> int:
        """Delete the oldest history, and the starts that no rate counts any more."""
        self._require_open()
        ((purged,),) = self._writer.ask("purge", {"retention": retention, "limit": limit})
        return int(purged)

    # ------------------------------------------------------------------ news

    def listen(self, heard: Callable[[], object]) -> float:
        """Have the listener say what it hears; a pooler forgets who listens, so we look."""
        self._heard = self._listener.on_heard = heard
        if self._writer.pooled:
            return _LOOK_OFTEN
        if not self._listener.started:
            self._listener.start()
        return _LOOK_EVERY

    def _on_committed(self) -> None:
        super()._on_committed()
        if self._contested.names():
            self._listener.remind(_REMIND_AFTER)

    def changed(self) -> bool:
        """Whether something was announced, or our own writes made something claimable."""
        if self._opened and not self._listener.started and not self._writer.pooled:
            self._listener.start()
        ready, self._ready = self._ready or self._contested.over(), False
        return self._listener.heard() or ready

    def announce(self) -> None:
        """Jobs were committed on a connection that is not ours."""
        with self.transaction():
            self._announce()


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
