"""The real SQLite store, with transactions that take time, fail, or end in doubt.

The file is real. The simulation adds three things: points at which threads may take turns (and the
process may die), waits for a busy file in the world's time, and the faults of a scenario.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from afterword.errors import StoreError, StoreInterrupted, StoreLocked, StoreUnavailable
from afterword.model.clock import Clock
from afterword.model.job import NewJob
from afterword.store.protocol import Added, Settlement
from afterword.store.sqlite import SQLiteStore
from afterword.store.sqlite.drivers import BUSY, Apsw, Driver, Pysqlite, PysqliteConnection
from afterword.store.sqlite.path import path_of
from afterword.store.sqlite.writer import News, Writer
from simulation.world import World

if TYPE_CHECKING:
    from simulation.process import Process

BUSY_FOR = 10.0  # seconds; the same as the real drivers
_LOOK_EVERY = 0.25
_PATIENCE = 0.001  # seconds between two looks at a busy file
_LOCK_TIMEOUT = 0.05  # seconds; the same as the PostgreSQL store's


class ServerClock(Clock):
    """The clock of a database server, from which hosts' clocks may differ."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        """The world's."""
        return self._world.now + self._world.wall_is_ahead

    def monotonic(self) -> float:
        """The world's."""
        return self._world.now


class SimulatedWriter(Writer):
    """A writer whose transactions have the faults and delays of the seed."""

    def __init__(self, path: Path, driver: Driver, news: News, process: "Process") -> None:
        super().__init__(path, driver, news)
        self._world = _world()
        self._process = process
        self.adding: list[NewJob] = []  # in this transaction
        self.in_doubt = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin and commit, with the seed's faults and delays before, within and after."""
        if self.in_transaction:
            with super().transaction():
                yield
            return
        fault = self._process.fault()
        self._take_time(fault)
        if fault == "refuse":
            raise StoreUnavailable("Simulated: the store refuses to begin.")
        with super().transaction():
            self.adding = []
            self._at("begun")
            yield
            self._take_time(fault)
            self._at("committing")
            self._fail(fault)
            added = self.adding
        self._at("committed")
        self._take_time(fault)
        if fault == "doubt":
            self._process.ledger.doubt(added)
            self._doubt()

    def _fail(self, fault: str | None) -> None:
        """Fail within the transaction, which is rolled back."""
        if fault == "break":
            raise StoreError("Simulated: the disk cannot be read just now.")
        if fault == "fail":
            raise StoreUnavailable("Simulated: the commit fails.")
        if fault == "interrupt":
            raise StoreInterrupted("Simulated: the connection is lost before the commit.")
        if fault == "doubt" and self._process.choose((True, False)):
            self._doubt()

    def _doubt(self) -> None:
        """Fail so that the caller cannot know whether it was committed."""
        self.in_doubt = True
        raise StoreUnavailable("Simulated: the connection was lost during the commit.")

    def _at(self, point: str) -> None:
        self._world.note(point)
        self._process.reached(point)
        self._world.pause()

    def _take_time(self, fault: str | None) -> None:
        self._world.pause()
        seconds = self._process.latency(fault)
        if seconds:
            self._world.sleep(seconds)


class SimulatedStore(SQLiteStore):
    """A store with a simulated writer."""

    def __init__(self, path: Path, driver: Driver) -> None:
        world = _world()
        assert world.thread is not None
        owner: Any = world.thread.owner
        self._process: Process = owner
        self._process.store = self
        self._world = world
        super().__init__(path, clock=ServerClock(world), driver=driver)

    def _new_writer(self, driver: Driver) -> Writer:
        self._simulated = SimulatedWriter(self.path, driver, self._news, self._process)
        return self._simulated

    @classmethod
    def from_url(cls, url: str) -> "SimulatedStore":
        """Make the store of a URL."""
        return cls(path_of(url), PatientPysqlite() if "+pysqlite" in url else PatientApsw())

    def listen(self, heard: Callable[[], object]) -> float:
        """Register the callback; the file has no bell for other processes."""
        self._news.heard = heard
        return _LOOK_EVERY

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Add jobs, and remember which ones this transaction has added."""
        self._simulated.adding.extend(jobs)
        self._meet_locks([job.unique_key for job in jobs if job.unique_key])
        return super().add(jobs, held_by)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End attempts, unless a user's transaction has added a job behind one of them."""
        self._meet_locks([each.claim.arguments for each in settlements])
        self._simulated.adding.extend(job for each in settlements for job in each.children)
        return super().settle(settlements)

    def purge(self, retention: float, limit: int) -> int:
        """Delete history; the ledger keeps a copy, and checks that it was old enough."""
        with self._process.ledger.purging(retention):
            return super().purge(retention, limit)

    def _meet_locks(self, wanted: Sequence[str]) -> None:
        """Wait a short time for a user's lock, as PostgreSQL's server does."""
        if self._process.simulation.is_locked(wanted):
            self._world.sleep(_LOCK_TIMEOUT)
            if self._process.simulation.is_locked(wanted):
                raise StoreLocked("Simulated: a user's transaction holds a lock.")

    def renew(self, worker: str, lease: float) -> bool:
        """Renew the lease; False after a transaction in doubt, as with PostgreSQL."""
        in_doubt, self._simulated.in_doubt = self._simulated.in_doubt, False
        return super().renew(worker, lease) and not in_doubt

    def die(self) -> None:
        """Roll back, close and unlock, as the operating system does when a process dies."""
        for connection in (self._writer._connection, self._reader._connection):
            if connection is not None:
                connection.close()
        self._locks.drop_all()


# ---------------------------------------------------------------------- a busy file


def _world() -> World:
    assert World.current is not None
    return World.current


def patiently(call: Callable[[], Any]) -> Any:
    """Call again while the file is busy, as SQLite's busy handler does, in the world's time."""
    world = _world()
    until = world.now + BUSY_FOR
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != BUSY or world.now > until:
                raise
        except apsw.BusyError:
            if world.now > until:
                raise
        world.sleep(_PATIENCE)


class PatientConnection(PysqliteConnection):
    """A sqlite3 connection that waits in the world's time; for the user and for the store."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute a statement; other threads may run before it."""
        _world().pause()
        cursor: sqlite3.Cursor = patiently(
            lambda: super(PatientConnection, self).execute(sql, parameters)
        )
        return cursor

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that waits in the world's time as well."""
        return super().cursor(PatientCursor)

    def commit(self) -> None:
        """Commit; other threads may run before it."""
        _world().pause()
        patiently(super().commit)


class PatientCursor(sqlite3.Cursor):
    """A cursor that waits for a busy file."""

    def execute(self, sql: str, parameters: Any = (), /) -> "PatientCursor":
        """Execute a statement."""
        patiently(lambda: super(PatientCursor, self).execute(sql, parameters))
        return self


class PatientPysqlite(Pysqlite):
    """The driver for a file that the application shares with the store."""

    def connect(self, path: Path) -> Any:
        """Open a file that exists; it never waits by itself."""
        return sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            factory=PatientConnection,
        )


class PatientApswConnection(apsw.Connection):
    """An apsw connection that waits in the world's time."""

    def execute(self, *said: Any, **more: Any) -> Any:
        """Execute one or more statements; other threads may run before them."""
        _world().pause()
        return patiently(lambda: super(PatientApswConnection, self).execute(*said, **more))

    def executemany(self, statements: str, sequenceofbindings: Any, **more: Any) -> Any:
        """Execute a statement for each set of values; all of them again if the file was busy."""
        given = list(sequenceofbindings)
        call = super().executemany
        return patiently(lambda: call(statements, given, **more))


class PatientApsw(Apsw):
    """The driver for a file that only the store uses."""

    def connect(self, path: Path) -> Any:
        """Open a file that exists; it never waits by itself."""
        return PatientApswConnection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
