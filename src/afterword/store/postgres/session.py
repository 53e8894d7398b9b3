"""One connection to the server, which comes back after it was lost.

A connection is lost when the server restarts, fails over or ends it, when the network drops it, or
when an answer does not come in time. Then:

- Before COMMIT was sent, nothing has happened: `StoreInterrupted`, and the caller may repeat the
  transaction at once. The same is raised if the server undoes a transaction to end a deadlock.
- After COMMIT was sent, its result is unknown: the session connects again and asks the server about
  that transaction (`pg_xact_status`). Committed: the answer stands. Aborted: as above.
- The server does not answer for `_PATIENCE` seconds, or it has crashed since the transaction began:
  `StoreUnavailable`, and `in_doubt` is set. (After a crash, the number of a transaction that never
  reached the disk is used again, so its status may belong to another one.) The transaction may have
  given this process jobs for which it has no claims.

While the server cannot be reached, tries to connect are spaced out, at random, up to `_MAX_PAUSE`.
"""

import functools
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import resources
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg

from afterword.errors import (
    StoreCorrupt,
    StoreError,
    StoreInterrupted,
    StoreLocked,
    StoreRefused,
    StoreUnavailable,
)
from afterword.model.clock import Clock
from afterword.store.columns import filled
from afterword.store.parts import Row, Values
from afterword.store.postgres.arrays import ArrayDumper
from afterword.store.postgres.parameters import pyformat
from afterword.store.postgres.url import shown

Answer = TypeVar("Answer")
T = TypeVar("T")

CHANNEL = "afterword"
LOOKING = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"  # all of it at the same moment
# A database can have another default, but each statement must see the commits of others.
WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
OLDEST_SERVER = 130000  # PostgreSQL 13, as the server writes it
# For statements that find their rows by an index. By default, the planner reads a whole table of
# some ten thousand jobs to find a hundred of them, for each batch.
PLANS = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
# All wait for the store's thread, so it does not wait for a transaction that may stay open.
IMPATIENT = {"lock_timeout": "50"}  # milliseconds; a commit of another process is over by then
# Settings that our statements depend on: a role or a database can have other defaults.
_OURS = {
    "DateStyle": "ISO",  # the driver reads no other one
    "TimeZone": "UTC",  # elsewhere the last moment of the year 9999 is in the year 10000
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",  # times come back as they were written, to be compared with them
    "array_nulls": "on",
    "search_path": "pg_catalog",  # functions of users could hide the server's own
    "default_transaction_isolation": "read committed",
    # What `PLANS` forbids is very expensive to the planner, so it would compile such statements to
    # machine code: that takes a hundred times as long as to run them.
    "jit": "off",
}
# Settings that end idle connections and long transactions, and the first server that has each.
_ENDING = {"idle_session_timeout": 140000, "transaction_timeout": 170000}
# The form of a job's columns where people see them, and where they are stored as they were given.
_SHOWN = {name: f"CAST({name} AS text)" for name in ("id", "arguments", "after", "options")}
_GIVEN = {
    "arguments": "CAST(arguments AS json)",
    "options": "CAST(options AS json)",
    "tags": "CASE WHEN tags IS NOT NULL"
    " THEN ARRAY(SELECT json_array_elements_text(CAST(tags AS json))) END",
    "run_at": "to_timestamp(run_at)",
    "created_at": "to_timestamp(created_at)",
}
REPEATS = 3  # of what was interrupted before anything was written
_PATIENCE = 10.0  # seconds to find out what became of a COMMIT
_FIRST_PAUSE, _MAX_PAUSE = 0.05, 5.0  # seconds between tries to connect
_READY_NONE = 0  # what the driver says when nothing has come yet


_of_parents: list[object] = []  # kept, or the driver would warn of connections left open


# A transaction's number, once it has one, and when it began.
_MARK = "SELECT pg_current_xact_id_if_assigned()::text, now()::text"
# Its status, and a sign of a crash since then: the server has started again, or has at least reset
# its statistics.
_STATUS = """
SELECT
    pg_xact_status(CAST(%s AS xid8)),
    CAST(%s AS timestamptz)
        < greatest(pg_postmaster_start_time(), (SELECT stats_reset FROM pg_stat_bgwriter))
"""


class TimedConnection(psycopg.Connection[Row]):
    """Gives up when an answer does not come: a server behind a dead proxy never answers."""

    answer_within = 10.0  # seconds

    def wait(
        self,
        gen: Generator[Any, Any, Answer],
        interval: float = 0.1,
        timeout: float | None = None,
    ) -> Answer:
        """Wait as the driver does, but not for ever."""
        deadline = time.monotonic() + (timeout or self.answer_within)
        return super().wait(self._until(deadline, gen), interval)

    def _until(
        self, deadline: float, gen: Generator[Any, Any, Answer]
    ) -> Generator[Any, Any, Answer]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready == _READY_NONE and time.monotonic() > deadline:
                    self.pgconn.finish()  # an answer that comes later would be taken for another
                    raise psycopg.OperationalError("the server did not answer in time")
                wanted = gen.send(ready)
        except StopIteration as ended:
            answer: Answer = ended.value
            return answer


class Session:
    """One connection, for one thread at a time.

    Args:
        parameters: see `parameters_of`.
        timeout: seconds that one statement may take.
        settings: of the server, for this session.
    """

    def __init__(
        self,
        parameters: Mapping[str, object],
        timeout: float,
        clock: Clock | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.url = shown(parameters)
        self.pooled = False  # a pooler stands between us and the server
        self.in_doubt = False  # see above; reset by the caller that has dealt with it
        self._parameters = parameters
        self._timeout = timeout
        self._more_settings = settings
        self._clock = clock or Clock()
        self._connection: TimedConnection | None = None
        self._owner: int | None = None  # the thread whose transaction is open
        self._pipeline: psycopg.Pipeline | None = None  # of this transaction
        self.announcing = False  # tell the others when this transaction is committed
        self._number: str | None = None  # of the transaction, once it has written
        self._began_at = ""  # by the server's clock
        self._spoiled = False  # see `_drop_if_spoiled`
        self._pause = _FIRST_PAUSE
        self._pause_until = float("-inf")  # monotonic

    # ------------------------------------------------------------------ connecting

    def close(self) -> None:
        """Close the connection; harmless when closed. The next statement opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """In a forked child: to close the connection would end it for the parent, too."""
        _of_parents.append(self._connection)
        self._connection = None
        self._owner = None

    def connection(self) -> TimedConnection:
        """The connection, a new one if the last one was lost.

        Raises:
            StoreUnavailable: the server cannot be reached, or not be used.
        """
        self._drop_if_spoiled()
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = self._connect_spaced_out()
        return self._connection

    @property
    def server_process(self) -> int | None:
        """The process id of the server's side; None when there is no connection."""
        connection = self._connection
        return None if connection is None or connection.closed else connection.info.backend_pid

    def _drop_if_spoiled(self) -> None:
        """A connection on which a statement was refused is not used for another transaction.

        What the driver prepares in a pipeline that fails, it believes to be prepared for ever.
        """
        if self._spoiled and not self.serves_this_thread:
            self._spoiled = False
            self.close()

    def _connect_spaced_out(self) -> TimedConnection:
        if self._clock.monotonic() < self._pause_until:
            raise StoreUnavailable(f"The store {self.url} cannot be reached; trying again soon.")
        try:
            connection = self._connect()
        except (psycopg.Error, StoreError):
            # At random: the processes that lost their server together must not return together.
            self._pause_until = self._clock.monotonic() + self._pause * random.uniform(0.5, 1.5)
            self._pause = min(self._pause * 2, _MAX_PAUSE)
            raise
        self._pause = _FIRST_PAUSE
        return connection

    def _connect(self) -> TimedConnection:
        connection = TimedConnection.connect(**self._parameters, autocommit=True)  # type: ignore[arg-type]
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: TimedConnection) -> None:
        connection.answer_within = self._timeout * 1.2
        connection.adapters.register_dumper(list, ArrayDumper)
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        # A pooler makes up the process id that a client is told when it connects.
        self.pooled = row is not None and row[0] != connection.info.backend_pid
        if self.pooled:
            connection.prepare_threshold = None  # the next statement may reach another server
        else:
            connection.execute(self._settings(connection, local=False))
        self._refuse_unusable(connection)

    def _refuse_unusable(self, connection: TimedConnection) -> None:
        if connection.info.server_version < OLDEST_SERVER:
            raise StoreError(
                f"The store needs PostgreSQL 13 or newer, but {self.url} is"
                f" {connection.info.parameter_status('server_version')}."
            )
        if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            raise StoreUnavailable(
                f"The store must be able to write, but {self.url} is a read replica now."
                " Name the primary server."
            )

    def _settings(self, connection: TimedConnection, *, local: bool) -> str:
        """The statement that sets the connection up, or the transaction (`local`)."""
        milliseconds = int(self._timeout * 1000)
        limits = {
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds // 2,
            "idle_in_transaction_session_timeout": milliseconds,
        }
        settings = {**_OURS, **limits, **unlimited(connection), **self._more_settings}
        calls = (f"set_config('{name}', '{value}', {local})" for name, value in settings.items())
        return f"SELECT {', '.join(calls)}"

    # ------------------------------------------------------------------ transactions

    @property
    def serves_this_thread(self) -> bool:
        """True inside a transaction of the calling thread."""
        return self._owner == threading.get_ident()

    @contextmanager
    def transaction(self, begin: str = WRITING) -> Iterator[None]:
        """One transaction around everything that is executed inside.

        Args:
            begin: how it begins, e.g. `LOOKING`.

        Raises:
            StoreInterrupted: the connection was lost before anything was written.
            StoreUnavailable, StoreError: see `errors`.
        """
        if self.serves_this_thread:
            yield
            return
        with self.errors():
            connection = self.connection()
            self._owner, self._number, self.announcing = threading.get_ident(), None, False
            committing = None
            try:
                # Pipelined: a round trip for each answer that is waited for, not each statement.
                with connection.pipeline() as self._pipeline, _settled(self._pipeline):
                    self._begin(connection, begin)
                    yield
                    committing = connection.execute("COMMIT")
                    if self.announcing:  # apart: inside, it would make all commits wait in line
                        connection.execute(f"NOTIFY {CHANNEL}")
            except BaseException as error:
                if committing is None or not self._committed(connection, committing, error):
                    _roll_back(connection)
                    self._spoiled = isinstance(error, psycopg.Error)
                    raise
            finally:
                self._owner = self._pipeline = None

    def _begin(self, connection: TimedConnection, begin: str) -> None:
        connection.execute(begin)
        if self.pooled:
            connection.execute(self._settings(connection, local=True))

    def execute(self, statement: str, values: Values | None = None, where: str = "") -> list[Row]:
        """Execute sql/<statement>.sql, which must return rows, inside a transaction.

        Args:
            where: replaces the comment --where in it; never user input.
        """
        cursor = self.send(statement, values, where)
        mark = self.connection().execute(_MARK) if self._number is None else None
        self._wait_idle()
        if mark is not None:
            self._number, self._began_at = mark.fetchone() or (None, "")
        return cursor.fetchall()

    def _wait_idle(self) -> None:
        """Wait for all answers, in a way after which the server counts as waiting for us.

        Otherwise, it would keep the locks of a process that is stopped now for as long as that is:
        `idle_in_transaction_session_timeout` begins at a Sync, and not at the driver's Flush.
        """
        if self._pipeline is not None:
            self._pipeline.sync()

    def send(
        self, statement: str, values: Values | None = None, where: str = ""
    ) -> "psycopg.Cursor[Row]":
        """The same, without waiting for the rows: several answers can be waited for at once."""
        return self.connection().execute(sql(statement, where), values or {})

    def ask(self, statement: str, values: Values | None = None) -> list[Row]:
        """Execute a statement that is a transaction of its own, unless one is open here.

        One round trip where `transaction` takes three, but its end may stay unknown: so it must do
        no harm when it is executed again.
        """
        if self.serves_this_thread:
            return self.execute(statement, values)
        return repeating(lambda: self._ask(statement, values))

    def _ask(self, statement: str, values: Values | None) -> list[Row]:
        if self.pooled:  # settings hold for a transaction only
            with self.transaction():
                return self.execute(statement, values)
        with self.errors():
            return self.connection().execute(sql(statement), values or {}).fetchall()

    def keep(self, part: Callable[[], bool]) -> bool:
        """Execute a part of a transaction; if it returns False, undo it and free its locks."""
        connection = self.connection()
        connection.execute("SAVEPOINT part")
        kept = part()
        if not kept:
            connection.execute("ROLLBACK TO SAVEPOINT part")
        connection.execute("RELEASE SAVEPOINT part")
        return kept

    # ------------------------------------------------------------------ when it goes wrong

    def _committed(
        self,
        connection: TimedConnection,
        committing: "psycopg.Cursor[Row]",
        error: BaseException,
    ) -> bool:
        """Return True if the transaction took effect although its COMMIT raised."""
        if committing.statusmessage == "COMMIT":
            return True  # only the NOTIFY behind it failed, and that is but a hint
        lost = isinstance(error, psycopg.Error) and connection.closed
        return lost and self._number is not None and self._ask_what_became_of(self._number)

    def _ask_what_became_of(self, number: str) -> bool:
        deadline = self._clock.monotonic() + _PATIENCE
        while self._clock.monotonic() < deadline:
            status = self._status_of(number)
            if status in ("committed", "aborted"):
                return status == "committed"
            if status == "unknowable":
                break
            time.sleep(0.05)
        self.in_doubt = True
        raise StoreUnavailable(
            f"The store {self.url} was lost in the middle of a commit. It is unknown"
            " whether that took effect."
        )

    def _status_of(self, number: str) -> str | None:
        """Ask the server for the status of a transaction; None if it cannot say now."""
        try:
            row = self.connection().execute(_STATUS, [number, self._began_at]).fetchone()
        except psycopg.errors.InvalidParameterValue:
            return "aborted"  # a number "in the future": nothing of it has survived a crash
        except (psycopg.Error, StoreUnavailable):
            return None
        status, crashed = row or (None, False)
        return "unknowable" if crashed else status

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The driver's errors become ours."""
        try:
            yield
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            # The server has undone all of it, because of what others did at the same moment.
            raise StoreInterrupted(
                f"The store {self.url} undid a transaction because of another one: {_text(error)}"
            ) from error
        except psycopg.errors.LockNotAvailable as error:
            raise StoreLocked(
                f"A transaction holds a lock that the store {self.url} needs: {_text(error)}"
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if self._connection is not None and self._connection.closed:
                raise StoreInterrupted(
                    f"The connection to the store {self.url} was lost: {_text(error)}"
                ) from error
            raise self._unavailable(error) from error
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise self._unavailable(error) from error
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise StoreCorrupt(
                f"{self.url} has no Afterword store any more ({_text(error)}). Restore its schema"
                " 'afterword', or start the application again to create a new one."
            ) from error
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
            raise StoreRefused(
                f"The store {self.url} refused the values of this call: {_text(error)}"
            ) from error
        except psycopg.Error as error:
            raise StoreError(f"The store {self.url} refused a statement: {_text(error)}") from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"The store {self.url} cannot be used now: {_text(error)}")


def repeating(call: Callable[[], T]) -> T:
    """Call it again if its connection was lost before anything was written.

    The server may have closed a connection long ago, while it was not used.
    """
    for _ in range(REPEATS):
        with suppress(StoreInterrupted):
            return call()
    return call()


def unlimited(connection: "psycopg.Connection[Any]") -> Mapping[str, str]:
    """The settings with which a server never ends the connection by itself."""
    version = connection.info.server_version
    return {name: "0" for name, since in _ENDING.items() if version >= since}


@contextmanager
def _settled(pipeline: psycopg.Pipeline) -> Iterator[None]:
    """After an error, take in the answers that are still under way; the driver would log them."""
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):
            pipeline.sync()
        raise


def _roll_back(connection: TimedConnection) -> None:
    if not connection.closed:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()


def _text(error: Exception) -> str:
    """The first line of an error, which has the rule; the others quote the statement."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__qualname__


@functools.cache
def sql(statement: str, where: str = "") -> str:
    """The text of sql/<statement>.sql in the driver's spelling of parameters."""
    return pyformat(text_of(statement).replace("--where", where))


@functools.cache
def text_of(statement: str) -> str:
    """Return the text of sql/<statement>.sql, columns filled in, parameters written `:name`."""
    text = (resources.files(__package__) / "sql" / f"{statement}.sql").read_text()
    return filled(text, _SHOWN, _GIVEN)
