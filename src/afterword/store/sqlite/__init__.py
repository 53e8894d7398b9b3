"""Jobs in a SQLite file: the embedded default.

WAL with `synchronous=FULL`: a commit survives power loss. Writers begin with BEGIN IMMEDIATE, so
they queue for the lock instead of failing to upgrade to it. Any number of processes of one machine
may open the file, each with one writing connection and one that only reads.

The driver is apsw because it brings its own, current SQLite: before 3.51.3 several writers could
corrupt a WAL database (https://sqlite.org/wal.html, section 11). Do not open the same file with
another SQLite library in the same process: POSIX drops a file's locks when either closes it. In
the application's own file the store therefore uses the standard library's sqlite3, as SQLAlchemy
does: `sqlite+pysqlite:///app.db`. If that SQLite can corrupt a file, a rollback journal is used
instead of WAL (`drivers.py`).

The store is made of parts over one writer (`writer`): `adding`, `claiming`, `settling`, `upkeep`
(workers, and jobs of lost ones) and `scheduling`; `queries` and `actions` serve people, and
`user_transaction` makes statements for the application's own connection.

Processes wake each other (`afterword.store.bells`). Commits on a connection of the application ring
no bell; `changed` finds them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from afterword.model.clock import Careful, Clock
from afterword.store.bells import Bells
from afterword.store.locks import Locks
from afterword.store.parts import verb
from afterword.store.sqlite.actions import Actions
from afterword.store.sqlite.adding import Adding
from afterword.store.sqlite.claiming import Claiming
from afterword.store.sqlite.counting import Counting
from afterword.store.sqlite.drivers import BUSY_TIMEOUT, Apsw, Driver, Pysqlite
from afterword.store.sqlite.file import StoreFile, script
from afterword.store.sqlite.path import path_of
from afterword.store.sqlite.queries import Queries
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.scheduling import Scheduling
from afterword.store.sqlite.settling import Settling
from afterword.store.sqlite.upkeep import Upkeep
from afterword.store.sqlite.user_transaction import UserTransaction
from afterword.store.sqlite.writer import News, Writer

_DRIVERS: Mapping[str, Callable[[], Driver]] = {"sqlite": Apsw, "sqlite+pysqlite": Pysqlite}


class SQLiteStore:
    """A store in one file.

    Args:
        path: the file; created, readable by its owner only, when it does not exist.
        clock: measures leases and due times.
        driver: the library that opens the file. Default: apsw, in a file of its own.

    Example:
        >>> store = SQLiteStore(Path("jobs.db"))
        >>> store.url
        'sqlite:///jobs.db'
    """

    durability = "power-loss"
    patience = BUSY_TIMEOUT

    def __init__(
        self, path: Path, clock: Clock | None = None, driver: Driver | None = None
    ) -> None:
        driver, clock = driver or Apsw(), clock or Clock()
        self.path = path
        self.url = f"{driver.scheme}:///{path}"
        self.identity = ""  # until it is open
        workers = path.with_name(path.name + "-workers")
        self._locks = locks = Locks(workers)
        self._careful = careful = Careful(clock)
        self._driver = driver
        self._news = News(Bells(workers))
        self._writer = writer = self._new_writer(driver)
        self._reader = reader = Reader(path, driver, writer.require_same_file)
        self._file = StoreFile(path, driver, writer, reader)

        self._adding = Adding(writer, clock)
        self._claiming = Claiming(writer, clock, careful)
        self._settling = Settling(writer, clock, self._adding, self._claiming)
        self._upkeep = Upkeep(writer, reader, clock, careful, locks, self._settling)
        self._counting = Counting(writer, reader, clock)
        self._scheduling = Scheduling(writer, reader, clock)
        self._queries = Queries(reader, clock, locks)
        self._actions = Actions(writer, reader, clock, locks, self._settling)
        self._user_transaction = UserTransaction(clock)

    def _new_writer(self, driver: Driver) -> Writer:
        return Writer(self.path, driver, self._news)

    @classmethod
    def from_url(cls, url: str) -> "SQLiteStore":
        """Make the store that a `sqlite:///` or `sqlite+pysqlite:///` URL names."""
        return cls(path_of(url), driver=_DRIVERS[url.partition(":")[0]]())

    # ------------------------------------------------------------------ open and close

    def open(self, create: bool = True) -> None:
        """Open the file; with `create`, create or migrate it if necessary."""
        self.identity = self._file.open(create)
        self._careful.start()

    def close(self) -> None:
        """Close both connections, drop every lock, and stop listening."""
        self._news.close()
        self._file.close()
        self._locks.drop_all()

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._news.forget()
        self._file.forget()
        self._locks.forget()

    def script(self) -> str:
        """Return all migrations as SQL."""
        return script(self._driver)

    # ------------------------------------------------------------------ the verbs of its parts

    transaction = verb("_writer", Writer.transaction)
    announce = verb("_writer", Writer.claimable)
    changed = verb("_writer", Writer.changed)
    listen = verb("_news", News.listen)

    add = verb("_adding", Adding.add)

    claim = verb("_claiming", Claiming.claim)
    next_in = verb("_claiming", Claiming.next_in)
    rules = verb("_claiming", Claiming.rules)
    take_note = verb("_claiming", Claiming.take_note)

    settle = verb("_settling", Settling.settle)
    release = verb("_settling", Settling.release)
    discard = verb("_settling", Settling.discard)
    report = verb("_settling", Settling.report)
    cancelling = verb("_settling", Settling.cancelling)

    join = verb("_upkeep", Upkeep.join)
    renew = verb("_upkeep", Upkeep.renew)
    retire = verb("_upkeep", Upkeep.retire)
    leave = verb("_upkeep", Upkeep.leave)
    recover = verb("_upkeep", Upkeep.recover)
    free_followers = verb("_upkeep", Upkeep.free_followers)
    purge = verb("_upkeep", Upkeep.purge)

    roll_up = verb("_counting", Counting.roll_up)
    counters = verb("_counting", Counting.counters)

    now = verb("_scheduling", Scheduling.now)
    declare = verb("_scheduling", Scheduling.declare)
    due = verb("_scheduling", Scheduling.due)
    advance = verb("_scheduling", Scheduling.advance)
    schedules = verb("_scheduling", Scheduling.schedules)
    pause_schedule = verb("_scheduling", Scheduling.pause_schedule)

    get = verb("_queries", Queries.get)
    find = verb("_queries", Queries.find)
    count = verb("_queries", Queries.count)
    window = verb("_queries", Queries.window)
    failures = verb("_queries", Queries.failures)
    attempts = verb("_queries", Queries.attempts)
    logs = verb("_queries", Queries.logs)
    with_key = verb("_queries", Queries.with_key)
    workers = verb("_queries", Queries.workers)
    queues = verb("_queries", Queries.queues)
    tasks = verb("_queries", Queries.tasks)
    revision = verb("_queries", Queries.revision)
    audit = verb("_queries", Queries.audit)
    note = verb("_actions", Actions.note)
    examine = verb("_queries", Queries.examine)

    cancel = verb("_actions", Actions.cancel)
    retry = verb("_actions", Actions.retry)
    delete = verb("_actions", Actions.delete)
    restore = verb("_actions", Actions.restore)
    pause = verb("_actions", Actions.pause)
    resume = verb("_actions", Actions.resume)
    limit = verb("_actions", Actions.limit)
    ruled = verb("_actions", Actions.ruled)
    wait_noted = verb("_actions", Actions.wait_noted)

    adding = verb("_user_transaction", UserTransaction.adding)
    reserving = verb("_user_transaction", UserTransaction.reserving)
    known = verb("_user_transaction", UserTransaction.known)
    keyed = verb("_user_transaction", UserTransaction.keyed)
    sharing = verb("_user_transaction", UserTransaction.sharing)
    completing = verb("_user_transaction", UserTransaction.completing)
    announcing = verb("_user_transaction", UserTransaction.announcing)
    identifying = verb("_user_transaction", UserTransaction.identifying)
