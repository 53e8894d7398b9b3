"""Transactional enqueue: jobs that exist if and only if the user's own transaction commits.

A job is written on the user's connection as it is added, so that savepoints and rollbacks take it
along; with an asynchronous session it is written right before the commit (`bound_session`). It is
never held: once committed, any worker may take it, whatever becomes of this process.

Who tells the workers, so that they need not find it by their next look:

- a session, SQLAlchemy's or SQLModel's, after its commit;
- the request, when it is over, for other connections;
- else the database with the commit, where it can (PostgreSQL's NOTIFY).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from afterword.chain import Chain
from afterword.connections import AsyncUserConnection, UserConnection, adapt
from afterword.handle import Job
from afterword.job import NewJob
from afterword.task_options import NO_OPTIONS, CallOptions, CallOptionsDict
from afterword.transactions import Transactions, perform, perform_async

P = ParamSpec("P")
R = TypeVar("R")


class Writer(Protocol):
    """How the jobs of a binding get into the transaction; `_AtOnce` is one."""

    def write(self, job: NewJob, chain: Chain) -> None:
        """See to it that the job exists if the transaction commits."""


class Binding:
    """Adds jobs in the transaction of a session or a synchronous connection."""

    def __init__(self, chain: Chain, writer: Writer, said: CallOptions = NO_OPTIONS) -> None:
        self._chain = chain
        self._writer = writer
        self._said = said

    def options(self, **options: Unpack[CallOptionsDict]) -> "Binding":
        """What adds calls with options of their own; see `BackgroundTasks.options`."""
        return Binding(self._chain, self._writer, CallOptions(**options))

    @overload
    def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def add_task(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...

    def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Add a call; it is stored if and only if the transaction commits, and then starts at once.

        Raises:
            NotStorable: it cannot be written down.
            ArgumentError: the arguments do not fit the function.
            ConfigurationError: the connection does not lead to the store's database.
        """
        job = self._chain.next(func, args, kwargs, self._said)
        if found := self._chain.found(job):
            return found
        self._writer.write(job, self._chain)
        return self._chain.append(job)


class AsyncBinding:
    """Adds jobs in the transaction of an asynchronous connection."""

    def __init__(
        self,
        chain: Chain,
        transactions: Transactions,
        connection: AsyncUserConnection,
        said: CallOptions = NO_OPTIONS,
    ) -> None:
        self._chain = chain
        self._transactions = transactions
        self._connection = connection
        self._said = said

    def options(self, **options: Unpack[CallOptionsDict]) -> "AsyncBinding":
        """What adds calls with options of their own; see `BackgroundTasks.options`."""
        said = CallOptions(**options)
        return AsyncBinding(self._chain, self._transactions, self._connection, said)

    @overload
    async def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    async def add_task(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    async def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """As `Binding.add_task`, but to be awaited: it is written here and now."""
        job = self._chain.next(func, args, kwargs, self._said)
        if found := self._chain.found(job):
            return found
        steps = self._transactions.adding(self._connection, [job], announced=self._chain.announced)
        await perform_async(steps, self._connection)
        return self._chain.append(job)


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """Executes on the connection as the job is added."""

    transactions: Transactions
    connection: UserConnection

    def write(self, job: NewJob, chain: Chain) -> None:
        steps = self.transactions.adding(self.connection, [job], announced=chain.announced)
        perform(steps, self.connection)


def bind(transactions: Transactions, connection: Any, chain: Chain) -> Binding | AsyncBinding:
    """What adds the jobs of a chain in the connection's transaction.

    Raises:
        ConfigurationError: the store or the connection is not of a kind for which this works.
        StoreError: the store cannot be opened.
    """
    adapted = adapt(connection)
    transactions.open()
    if adapted.session is not None:
        from afterword.bound_session import SessionJobs, SessionWriter

        session_jobs = SessionJobs.of(adapted.session, transactions)
        at_once = adapted.session is connection
        return Binding(chain, SessionWriter(adapted.session, session_jobs, at_once))
    if adapted.awaited:
        return AsyncBinding(chain, transactions, adapted)
    return Binding(chain, _AtOnce(transactions, adapted))
