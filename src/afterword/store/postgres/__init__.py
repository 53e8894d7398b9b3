"""Jobs in PostgreSQL: for any number of machines.

Everything is in the schema `afterword`, in the application's database or in a separate one. The
statements are set-based (one for any number of jobs), and leases and due times are measured by the
server's clock. Workers are notified of new jobs by NOTIFY, sent after the commit; jobs whose
notification is lost are found by polling.

Each process has two connections: one that writes, for the store's thread, and one for queries and
actions of people, from any thread. A process that runs jobs has a third one, which listens.

A worker on this machine whose process has died is noticed at once, by its lock file; one on another
machine when its lease has run out.

The store is made of parts over one writer (`writer`): `adding`, `claiming`, `settling`, `upkeep`
(workers, and jobs of lost ones) and `scheduling`; `queries` and `actions` serve people, and
`user_transaction` makes statements for the application's own connection.
"""

from collections.abc import Callable

from afterword import telemetry
from afterword.errors import MissingExtra
from afterword.model.clock import Clock
from afterword.store.locks import Locks, shared_directory
from afterword.store.parts import verb

try:
    from afterword.store.postgres.listener import Listener
except ImportError as error:
    raise MissingExtra("A store in PostgreSQL", "afterword[postgres]") from error

from afterword.store.postgres.actions import Actions
from afterword.store.postgres.adding import Adding
from afterword.store.postgres.claiming import Claiming
from afterword.store.postgres.counting import Counting
from afterword.store.postgres.people import PeopleConnection
from afterword.store.postgres.queries import Queries
from afterword.store.postgres.scheduling import Scheduling
from afterword.store.postgres.schema import Schema, script
from afterword.store.postgres.session import IMPATIENT, PLANS, Session
from afterword.store.postgres.settling import Settling
from afterword.store.postgres.upkeep import Upkeep
from afterword.store.postgres.url import parameters_of, shown
from afterword.store.postgres.user_transaction import UserTransaction
from afterword.store.postgres.writer import Writer

_TIMEOUT = 10.0  # seconds one statement may take
_LOOK_EVERY, _LOOK_OFTEN = 1.0, 0.05  # seconds between looks for what no listener has told


class PostgresStore:
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
        parameters, clock = parameters_of(url, timeout), clock or Clock()
        self.url = shown(parameters)
        self.durability = "power-loss"
        self.identity = ""  # until it is open
        self.patience = timeout
        session = Session(parameters, timeout, clock, {**PLANS, **IMPATIENT})
        self._schema = Schema(session)
        self._writer = writer = Writer(session)
        self._people = people = PeopleConnection(Session(parameters, timeout, clock), writer)
        self._listener = Listener(parameters, lambda pid: pid == session.server_process)
        self._locks = locks = Locks(None)  # until it is open

        self._adding = Adding(writer)
        self._claiming = Claiming(writer, clock, self._listener.remind)
        self._settling = Settling(writer, self._adding)
        self._upkeep = Upkeep(writer, locks, self._settling)
        self._counting = Counting(writer, people)
        self._scheduling = Scheduling(writer, people)
        self._queries = Queries(people, clock, locks)
        self._actions = Actions(people, locks)
        self._user_transaction = UserTransaction()

    # ------------------------------------------------------------------ open and close

    def open(self, create: bool = True) -> None:
        """Connect; create or migrate the schema `afterword` if need be."""
        if self._writer.opened:
            return
        session = self._writer.session
        try:
            with session.errors():
                self.identity = self._schema.open(create)
                self._locks.use(shared_directory(self.identity))
                self.durability = self._schema.durability()
        except BaseException:
            session.close()
            raise
        self._writer.opened = self._people.open = True
        self._writer.claimable_here()
        if session.pooled:
            telemetry.polling(self.url)

    def close(self) -> None:
        """Close every connection and drop every lock."""
        self._writer.heard = None
        self._listener.stop()
        self._writer.session.close()
        self._people.close()
        self._locks.drop_all()
        self._writer.opened = False

    def forget(self) -> None:
        """In a forked child: be closed."""
        self._writer.heard = None
        self._listener.forget()
        self._writer.session.forget()
        self._people.forget()
        self._locks.forget()
        self._writer.opened = False

    def script(self) -> str:
        """Return all migrations as SQL."""
        return script()

    # ------------------------------------------------------------------ news

    def listen(self, heard: Callable[[], object]) -> float:
        """Start the listener; behind a pooler, which drops it, `changed` is called more often."""
        self._writer.heard = self._listener.on_heard = heard
        if self._writer.session.pooled:
            return _LOOK_OFTEN
        if not self._listener.started:
            self._listener.start()
        return _LOOK_EVERY

    def changed(self) -> bool:
        """Return True if jobs were announced, or were committed here without waking anyone."""
        writer = self._writer
        if writer.opened and not self._listener.started and not writer.session.pooled:
            self._listener.start()
        claimable = writer.take_claimable()
        over = self._claiming.contested.over()
        return self._listener.heard() or claimable or over

    # ------------------------------------------------------------------ the verbs of its parts

    transaction = verb("_writer", Writer.transaction)
    announce = verb("_writer", Writer.announce)

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
