"""The intake: where an application's jobs are stored, and where held jobs are let go.

`Afterword` makes one; requests, and code outside of them, store their jobs through it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

from afterword.client.call import Call, new_job
from afterword.client.group_commit import GroupCommit
from afterword.client.handle import Job
from afterword.client.inquiries import Inquiries
from afterword.client.leases import Leases
from afterword.client.operation import calling, discarding, releasing
from afterword.errors import NotStarted
from afterword.injection.needs import Injection
from afterword.injection.scope import Provided
from afterword.model.clock import StoreClock
from afterword.model.job import NewJob
from afterword.model.threads import refuse_event_loop
from afterword.request.bind import AsyncBinding, Binding, bind
from afterword.request.idempotency import Whose
from afterword.request.sequence import JobSequence
from afterword.store.protocol import STOPPED, Claim, Putback
from afterword.transactions.statements import Transactions

if TYPE_CHECKING:
    from afterword.request.outbox import Entry, Outbox

Order = Literal["sequential", "concurrent"]
OnFailure = Literal["stop", "continue"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an application decides about the jobs of one request; see `Afterword`."""

    order: Order = "sequential"
    on_failure: OnFailure = "stop"
    strict: bool = False
    idempotent: bool | Whose = False


class LocalWorker(Protocol):
    """The worker of this process, if it has one."""

    def offer(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Start jobs that this process holds; returns those it has no room for."""


class Intake:
    """Stores the jobs of one application.

    Args:
        group: runs the store; started by the first who needs it.
        leases: whose worker id holds jobs.
        inquiries: asks the store about jobs.
        injection: what the application's functions are given.
        store_timeout: seconds within which a caller is told that its jobs could not be stored.
        grace: seconds a shutdown waits for what runs.
        redact: takes an error's text; returns what may be kept of it.
        provide: gives what is injected into a call that runs in its request.
    """

    def __init__(
        self,
        *,
        group: GroupCommit,
        leases: Leases,
        inquiries: Inquiries,
        transactions: Transactions,
        clock: StoreClock,
        injection: Injection,
        rules: Rules,
        store_timeout: float,
        grace: float,
        redact: Callable[[str], str],
        provide: Callable[["Entry"], AbstractContextManager[Provided]],
    ) -> None:
        self.group, self.inquiries, self.transactions = group, inquiries, transactions
        self.injection, self.rules = injection, rules
        self.store_timeout = store_timeout
        self.grace, self.redact = grace, redact
        self.provide = provide
        self.started = False  # the application's lifespan has run
        self.works = False  # the application runs jobs itself, once it has started
        self.stopping_since: float | None = None  # monotonic; the process is about to end
        self.worker: LocalWorker | None = None
        self.lifespan_state: Mapping[str, Any] = {}  # what the application's lifespan has yielded
        self._clock, self._leases = clock, leases
        self._unfinished: set[asyncio.Task[None]] = set()
        self._sequences: WeakKeyDictionary[Any, JobSequence] = WeakKeyDictionary()

    @property
    def worker_id(self) -> str:
        """The id under which this process holds jobs."""
        return self._leases.worker

    @property
    def starts_here(self) -> bool:
        """True if a job that is added now may start in this process."""
        return self.started and self.worker is not None

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Seconds of a clock that is never set."""
        return self._clock.monotonic()

    # ------------------------------------------------------------------ jobs outside of a request

    def new_job(self, call: Call) -> NewJob:
        """The job of a call that has no others before it; it is not added."""
        return new_job(call, self.injection)

    async def add(self, call: Call) -> Job[Any]:
        """`Afterword.add_task`."""
        outbox = self._outbox()
        if not self.inquiries.is_open:
            await asyncio.to_thread(self.inquiries.store)
        return (await outbox.add_and_store(call)).handle

    def add_sync(self, call: Call) -> Job[Any]:
        """`Afterword.add_task_sync`."""
        refuse_event_loop("afterword.add_task_sync(...)", "await afterword.add_task(...)")
        outbox = self._outbox()
        self.inquiries.store()
        return outbox.add(call).handle

    def _outbox(self) -> "Outbox":
        from afterword.request.outbox import Outbox, open_outbox

        here = open_outbox()
        if here is not None and here.intake is self and self.works and not self.started:
            raise NotStarted(
                "The lifespan of this application has not run, so its worker would never run the"
                " job. Serve the application with its lifespan (uvicorn: --lifespan on). For one"
                " that is mounted in another, enter its lifespan in the other one's:\n"
                "    async with inner.router.lifespan_context(inner): yield\n"
                "In a test, use `with TestClient(app) as client:`. An application whose jobs other"
                " processes run says Afterword(app, worker=False)."
            )
        return Outbox(self, over=True)

    def bind(self, connection: Any, sequence: JobSequence | None = None) -> Binding | AsyncBinding:
        """An adder of jobs in a transaction of the user's.

        Args:
            sequence: of the request to which they belong. Default: that of the connection.
        """
        return bind(self.transactions, connection, sequence or self._sequence_of(connection))

    def _sequence_of(self, connection: Any) -> JobSequence:
        """The same one, however often a connection or a session is bound."""
        try:
            return self._sequences.setdefault(connection, JobSequence(self))
        except TypeError:  # it cannot be referred to weakly
            return JobSequence(self)

    def announce(self) -> None:
        """Let the workers look for jobs that such a transaction has committed."""
        self.transactions.announce()

    # ------------------------------------------------------------------ held jobs

    def release(self, ready: Sequence[Claim], waiting: Sequence[Claim]) -> None:
        """Start held jobs here, or give them to whoever has room.

        Args:
            ready: may start at once. waiting: have to wait, for their time or another job.
        """
        left = self.worker.offer(ready) if self.worker and ready else ready
        if left or waiting:
            self.group.insist(releasing([Putback(claim) for claim in (*left, *waiting)]))

    def discard(self, claims: Sequence[Claim]) -> None:
        """Remove held jobs that are not to run after all."""
        if claims:
            self.group.insist(discarding(claims))

    def cancel(self, claims: Sequence[Claim], followers: Sequence[str] = ()) -> None:
        """End held jobs as cancelled, because an earlier task of their request failed.

        Args:
            followers: the ids of queued jobs that wait for them; cancelled first.
        """
        if followers:
            self.group.insist(calling(lambda store: store.cancel(followers, STOPPED)))
        if claims:
            self.group.insist(discarding(claims, STOPPED))

    # ------------------------------------------------------------------ what outlives its request

    def finish_later(self, work: Awaitable[None]) -> None:
        """Finish a request whose own coroutine was cancelled."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)

    async def wait_unfinished(self, seconds: float) -> None:
        """Wait for such requests, for a while."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=seconds)

    def forget(self) -> None:
        """In a forked child: not started, whatever the parent is."""
        self.started = False
        self.worker = None
        self._unfinished = set()
