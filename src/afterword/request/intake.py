"""The intake: stores the jobs of one application, and releases held jobs.

`Afterword` creates one. Requests, and code outside of them, store their jobs through it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

from afterword.client.call import Call, new_job
from afterword.client.failures import OnFailed
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
    """An application's settings for the jobs of one request; see `Afterword`."""

    order: Order = "sequential"
    on_failure: OnFailure = "stop"
    strict: bool = False
    idempotent: bool | Whose = False


class LocalWorker(Protocol):
    """The worker of this process, if it has one."""

    def offer(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Start jobs that this process holds, and return those for which there is no free slot."""


class Intake:
    """Stores the jobs of one application.

    Args:
        group: runs the store; started when it is first needed.
        leases: has the worker id that holds jobs.
        inquiries: asks the store about jobs.
        injection: resolves the dependencies of the application's functions.
        store_timeout: seconds after which storing fails with StoreUnavailable.
        grace: seconds for which a shutdown waits for running attempts.
        redact: takes an error's text, and returns the text to store.
        on_failed: called when a call that is not stored has failed.
        provide: provides the built-in types for a call that runs in its request.
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
        on_failed: OnFailed,
        provide: Callable[["Entry"], AbstractContextManager[Provided]],
    ) -> None:
        self.group, self.inquiries, self.transactions = group, inquiries, transactions
        self.injection, self.rules = injection, rules
        self.store_timeout = store_timeout
        self.grace, self.redact, self.on_failed = grace, redact, on_failed
        self.provide = provide
        self.owner: object = None  # the application's Afterword
        self.started = False  # the application's lifespan has run
        self.works = False  # the application runs jobs itself, once it has started
        self.in_test = False  # the application was created under the pytest plugin
        self.holds_jobs = False  # a test starts them itself, even if the application is not started
        self.stopping_since: float | None = None  # monotonic; the process is about to end
        self.worker: LocalWorker | None = None
        self.lifespan_state: Mapping[str, Any] = {}  # yielded by the application's lifespan
        self._clock, self._leases = clock, leases
        self._unfinished: set[asyncio.Task[None]] = set()
        self._sequences: WeakKeyDictionary[Any, JobSequence] = WeakKeyDictionary()

    @property
    def worker_id(self) -> str:
        """The id under which this process holds jobs."""
        return self._leases.worker

    @property
    def stores(self) -> bool:
        """True if the jobs of requests are stored; otherwise calls run in their request."""
        return self.started or self.holds_jobs

    @property
    def waits_for_tasks(self) -> bool:
        """True if a request waits for its tasks: in tests that do not start them themselves."""
        return self.in_test and not self.holds_jobs

    @property
    def starts_here(self) -> bool:
        """True if a job that is added now may start in this process."""
        return self.started and self.worker is not None

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return self._clock.monotonic()

    # ------------------------------------------------------------------ jobs outside of a request

    def new_job(self, call: Call) -> NewJob:
        """Create the job of a call, without a predecessor; it is not added."""
        return new_job(call, self.injection)

    async def add(self, call: Call) -> Job[Any]:
        """Store a call; see `Afterword.add_task`."""
        outbox = self._outbox()
        if not self.inquiries.is_open:
            await asyncio.to_thread(self.inquiries.store)
        return (await outbox.add_and_store(call)).handle

    def add_sync(self, call: Call) -> Job[Any]:
        """Store a call from a thread; see `Afterword.add_task_sync`."""
        refuse_event_loop("afterword.add_task_sync(...)", "await afterword.add_task(...)")
        outbox = self._outbox()
        self.inquiries.store()
        return outbox.add(call).handle

    def _outbox(self) -> "Outbox":
        from afterword.request.outbox import Outbox, open_outbox

        here = open_outbox()
        if here is not None and here.intake is self and self.works and not self.stores:
            raise NotStarted(
                "The lifespan of this application has not run, so its worker would never run the"
                " job. Serve the application with its lifespan (uvicorn: --lifespan on). If it is"
                " mounted in another application, enter its lifespan in that application's:\n"
                "    async with inner.router.lifespan_context(inner): yield\n"
                "In a test, use `with TestClient(app) as client:`. If other processes run its jobs,"
                " use Afterword(app, worker=False)."
            )
        return Outbox(self, over=True)

    def bind(self, connection: Any, sequence: JobSequence | None = None) -> Binding | AsyncBinding:
        """A task adder for jobs in a transaction of the user.

        Args:
            sequence: of the request to which the jobs belong. Default: that of the connection.
        """
        return bind(self.transactions, connection, sequence or self._sequence_of(connection))

    def _sequence_of(self, connection: Any) -> JobSequence:
        """The sequence of a connection or session; the same one each time it is bound."""
        try:
            return self._sequences.setdefault(connection, JobSequence(self))
        except TypeError:  # it cannot be referenced weakly
            return JobSequence(self)

    def announce(self) -> None:
        """Notify the workers of jobs that such a transaction has committed."""
        self.transactions.announce()

    # ------------------------------------------------------------------ held jobs

    def release(self, ready: Sequence[Claim], waiting: Sequence[Claim]) -> None:
        """Start held jobs in this process, or release them to all workers.

        Args:
            ready: jobs that may start at once.
            waiting: jobs that wait for their time or for another job.
        """
        left = self.worker.offer(ready) if self.worker and ready else ready
        if left or waiting:
            self.group.insist(releasing([Putback(claim) for claim in (*left, *waiting)]))

    def discard(self, claims: Sequence[Claim]) -> None:
        """Remove held jobs that must not run."""
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

    # ------------------------------------------------------------------ work after the request

    def finish_later(self, work: Awaitable[None]) -> None:
        """Finish a request whose own coroutine was cancelled."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)

    async def wait_unfinished(self, seconds: float) -> None:
        """Wait up to `seconds` for the work of `finish_later`."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=seconds)

    def forget(self) -> None:
        """Forget, in a forked child, that the parent is started."""
        self.started = False
        self.worker = None
        self._unfinished = set()
