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

The verbs are in modules by what they do: `adding`, `claiming` (claims), `settling`, `scheduling`;
what people may ask is in `queries`, what they may do in `actions`, and what the application's own
connection may execute in `user_transaction`.

Processes wake each other (`afterword.store.bells`). What nobody tells, because it was committed on
a connection of the application's own, is found by looking, see `changed`.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from afterword.model.clock import Careful, Clock
from afterword.store.bells import Bells
from afterword.store.locks import Locks
from afterword.store.sqlite.claiming import Claiming
from afterword.store.sqlite.database import Database, script
from afterword.store.sqlite.drivers import Apsw, Driver, Pysqlite
from afterword.store.sqlite.lease_clock import LeaseClock
from afterword.store.sqlite.path import path_of
from afterword.store.sqlite.queries import Queries
from afterword.store.sqlite.scheduling import Scheduling
from afterword.store.sqlite.settling import Settling
from afterword.store.sqlite.user_transaction import UserTransaction

# Seconds between looks for commits of others, and where these cannot ring.
_LOOK_EVERY, _LOOK_OFTEN = 0.25, 0.01

_DRIVERS: Mapping[str, Callable[[], Driver]] = {"sqlite": Apsw, "sqlite+pysqlite": Pysqlite}


class SQLiteStore(Queries, Settling, Claiming, Scheduling, UserTransaction):
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
        workers = path.with_name(path.name + "-workers")
        self._locks, self._bells = Locks(workers), Bells(workers)
        self._lease_clock = LeaseClock(self._clock)
        self._careful = Careful(self._clock)
        self._database = Database(path, self._driver)
        self._heard: Callable[[], object] | None = None
        self._seen_version = 0
        self._looked_to = ""  # where `free_followers` goes on
        self._limited: frozenset[str] = frozenset()  # queues with a limit of their own

    @classmethod
    def from_url(cls, url: str) -> "SQLiteStore":
        """The store that a `sqlite:///` or `sqlite+pysqlite:///` URL names."""
        return cls(path_of(url), driver=_DRIVERS[url.partition(":")[0]]())

    # ------------------------------------------------------------------ open and close

    def open(self, create: bool = True) -> None:
        """Take the file into use; with `create`, make it and migrate it if need be."""
        self.identity = self._database.open(create)
        self._careful.start()
        self._seen_version = self._database.version_of_others()

    def close(self) -> None:
        """Close both connections, drop every lock, and hear nothing more."""
        self._heard = None
        self._bells.close()
        self._database.close()
        self._locks.drop_all()

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._heard = None
        self._bells.forget()
        self._database.forget()
        self._locks.forget()

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
        self._lease_clock.note(worker, now + lease)

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
            self._take_off(worker)
        self._locks.drop(worker)

    # ------------------------------------------------------------------ upkeep

    def purge(self, retention: float, limit: int) -> int:
        """Delete the oldest history, and the starts that no rate counts any more.

        A clock that is set while this process looks on deletes nothing early: see `Careful`.
        """
        before = self._careful.now() - retention
        with self.transaction():
            rows = self._database.write("purge", {"before": before, "limit": limit})
            ids = json.dumps([row[0] for row in rows])
            self._database.write("forget_attempts", {"ids": ids})
            self._database.write("forget_retired", {})
            self._database.write("purge_rates", {"now": self._clock.now(), "limit": limit})
        return len(rows)

    # ------------------------------------------------------------------ news

    def listen(self, heard: Callable[[], object]) -> float:
        """Hang up a bell for others to ring."""
        self._heard = heard
        return _LOOK_EVERY if self._bells.listen(heard) else _LOOK_OFTEN

    def announce(self) -> None:
        """Jobs were committed on another connection of this process."""
        self._ready = True

    def changed(self) -> bool:
        """Whether another process has committed, or our own writes made something claimable."""
        untold, self._untold = self._untold, False
        version = self._database.version_of_others()
        seen, self._seen_version = self._seen_version, version
        return untold or version != seen
