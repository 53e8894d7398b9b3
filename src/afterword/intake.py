"""What comes into the store, and starts here: for requests, and for code outside of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from afterword.call import draft
from afterword.clock import StoreClock
from afterword.group_commit import GroupCommit
from afterword.handle import Job
from afterword.injection import Injection
from afterword.job import NewJob
from afterword.keeper import Keeper
from afterword.leases import Leases
from afterword.operation import adding, discarding, releasing, settling
from afterword.outbox import Stored
from afterword.outcome import Cancelled
from afterword.store import Added, Claim, Putback, Settlement, held_claim
from afterword.task_options import NO_OPTIONS, CallOptions
from afterword.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


class Intake:
    """The part of `Afterword` that the middleware hands the jobs of requests to."""

    injection: Injection
    keeper: Keeper
    started: bool
    _clock: StoreClock
    _group: GroupCommit
    _leases: Leases
    _store_timeout: float
    _unfinished: set[asyncio.Task[None]]
    _worker: Worker | None

    def new_job(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
    ) -> NewJob:
        """The job of a call outside of a request; held here if it can start here at once."""
        said_of_it = draft(func, args, kwargs, said, now=self.now(), injection=self.injection)
        at_once = said_of_it["run_at"] is None and said_of_it["limit_key"] is None
        here = self.started and self._worker is not None
        return NewJob(**said_of_it, held=here and at_once)

    async def store(
        self,
        jobs: Sequence[NewJob],
        stored_anyway: Callable[[Sequence[Stored]], object] | None = None,
    ) -> Sequence[Stored]:
        """Make jobs durable, before this returns.

        A caller who is cancelled when it is too late is told by `stored_anyway`.
        """
        worker, now = self._leases.worker, self._clock.now()
        operation = adding(jobs, worker)
        try:
            added = await self._group.run(operation, self._store_timeout)
        except asyncio.CancelledError:
            if stored_anyway and operation.committed:
                stored_anyway(_stored(jobs, operation.result, worker, now))
            raise
        return _stored(jobs, added, worker, now)

    def store_blocking(self, jobs: Sequence[NewJob]) -> Sequence[Stored]:
        """The same for a thread."""
        worker, now = self._leases.worker, self._clock.now()
        added = self._group.run_blocking(adding(jobs, worker), self._store_timeout)
        return _stored(jobs, added, worker, now)

    def release(self, ready: Sequence[Claim], waiting: Sequence[Claim]) -> None:
        """Start held jobs here, or give them to whoever has room."""
        left = self._worker.offer(ready) if self._worker else ready
        if left or waiting:
            self._group.insist(releasing([Putback(claim) for claim in (*left, *waiting)]))

    def discard(self, claims: Sequence[Claim]) -> None:
        """Remove held jobs that are not to run after all."""
        if claims:
            self._group.insist(discarding(claims))

    def cancel(self, claims: Sequence[Claim], reason: str) -> None:
        """End held jobs as cancelled."""
        if claims:
            now = self._clock.now()
            self._group.insist(
                settling([Settlement(claim, Cancelled(reason), now) for claim in claims])
            )

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now()

    def finish_later(self, work: Awaitable[None]) -> None:
        """Finish a request whose own coroutine was cancelled."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)


def _stored(
    jobs: Sequence[NewJob], answers: Sequence[Added], worker: str, now: float
) -> Sequence[Stored]:
    return [
        Stored(answer, _claim(job, answer, worker, now))
        for job, answer in zip(jobs, answers, strict=True)
    ]


def _claim(job: NewJob, answer: Added, worker: str, now: float) -> Claim | None:
    if not (job.held and answer.added):
        return None
    return held_claim(job, worker, now, waits=answer.waits)


class Adding:
    """Adds jobs outside of a request, with options: `Afterword.options(...)`."""

    def __init__(self, intake: Intake, said: CallOptions = NO_OPTIONS) -> None:
        self._intake = intake
        self._said = said

    @overload
    async def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    async def add_task(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    async def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """As `Afterword.add_task`."""
        if not self._intake.keeper.is_open:
            await asyncio.to_thread(self._intake.keeper.store)
        job = self._intake.new_job(func, args, kwargs, self._said)
        return self._added(job, await self._intake.store([job]))

    @overload
    def add_task_sync(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def add_task_sync(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    def add_task_sync(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """As `Afterword.add_task_sync`."""
        self._intake.keeper.store()
        job = self._intake.new_job(func, args, kwargs, self._said)
        return self._added(job, self._intake.store_blocking([job]))

    def _added(self, job: NewJob, stored: Sequence[Stored]) -> Job[Any]:
        (each,) = stored
        if each.claim:
            self._intake.release([each.claim], [])
        return Job(
            each.answer.id,
            job.task,
            keeper=self._intake.keeper,
            record=each.answer.found,
            conflict=each.answer.conflict,
        )
