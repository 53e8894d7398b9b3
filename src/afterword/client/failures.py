"""Failure calls: the application's functions that are called when a job has failed for good.

They run beside the jobs, in the event loop of the application or in threads of their own. They
change no outcome: their errors are logged, and each call has a time limit. A call is not stored,
so there is none if the process dies between the end of the job and the call.
"""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from afterword import telemetry
from afterword.client.inquiries import Inquiries
from afterword.errors import JobFailed
from afterword.model.job import JobRecord, JobState, NewJob
from afterword.model.outcome import describe, shown, without_callers
from afterword.store.protocol import Claim, Recovered
from afterword.tasks.options import FailureCall
from afterword.tasks.registry import is_async, options_of, reference

TIME_LIMIT = 5.0  # seconds for one call
AT_ONCE = 8  # calls that run at the same time, with those that went on after their time limit
MOST_WAITING = 1_000  # failures; further ones are only logged
FREE_WITHIN = 60.0  # seconds that a call waits for one of the others to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A job that has failed for good.

    Args:
        job_id, task, attempt: of the job.
        error: the exception; None: no code of this process raised one, and the job's record has
            the reason.
        job: the job itself, if it is in no store.
    """

    job_id: str
    task: str
    attempt: int
    error: BaseException | None = None
    job: NewJob | None = None

    @classmethod
    def of(cls, job: Claim | Recovered, error: BaseException | None = None) -> "Failure":
        """Describe the end of a stored job."""
        return cls(job_id=job.id, task=job.task, attempt=job.attempt, error=error)


OnFailed = Callable[[Failure], object]  # called in any thread; returns at once


def report_failed(jobs: Sequence[Recovered], on_failed: OnFailed) -> None:
    """Report those of the recovered jobs that have failed."""
    for job in jobs:
        if job.state is JobState.FAILED:
            on_failed(Failure.of(job))


class Failures:
    """Calls functions when a job has failed for good.

    Args:
        inquiries: finds the record of the job.
        redact: removes from the text of an error what must not be logged.
    """

    def __init__(self, inquiries: Inquiries, redact: Callable[[str], str]) -> None:
        self._inquiries = inquiries
        self._redact = redact
        self._loop: asyncio.AbstractEventLoop | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self.calls: list[FailureCall] = []  # for the jobs of every task

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._telling = set()

    async def drain(self) -> None:
        """Wait for the calls of the failures so far, for as long as one call may take."""
        await asyncio.sleep(0)  # `report` was called before, in other threads
        self._loop = None
        late = await self.wait_called()
        for each in late:
            each.cancel()
        if late:
            telemetry.failures_not_told(len(late), "the application stops")

    async def wait_called(self) -> set[asyncio.Task[None]]:
        """Wait for the calls of the failures so far, as `drain`; return those that go on."""
        await asyncio.sleep(0)
        if not self._telling:
            return set()
        _, late = await asyncio.wait(self._telling, timeout=TIME_LIMIT)
        return late

    def forget(self) -> None:
        """Forget, in a forked child, the event loop of the parent."""
        self._loop, self._telling = None, set()

    def report(self, failure: Failure) -> None:
        """Call the functions soon; returns at once, in any thread."""
        if not self._calls_for(failure.task):
            return
        try:
            if self._loop is None:
                raise RuntimeError
            self._loop.call_soon_threadsafe(self._begin, failure, context=contextvars.Context())
        except RuntimeError:  # it was closed without a shutdown
            telemetry.failures_not_told(1, "the application has stopped")

    def _calls_for(self, task: str) -> Sequence[FailureCall]:
        own = options_of(task).on_failure_call
        return self.calls if own is None else [own, *self.calls]

    def _begin(self, failure: Failure) -> None:
        if len(self._telling) >= MOST_WAITING:
            telemetry.failures_not_told(1, f"{MOST_WAITING:,} others wait for their calls")
            return
        task = asyncio.get_running_loop().create_task(self._tell(failure))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, failure: Failure) -> None:
        job = await self._record_of(failure)
        error = failure.error or JobFailed(job.error or "")
        # Our own frames refer to the attempt, which must not live as long as the exception.
        # The exception of a frozen dataclass takes them only so.
        BaseException.with_traceback(error, without_callers(error.__traceback__))
        for func in self._calls_for(failure.task):
            await self._call(func, (job, error, failure.attempt), failure)

    async def _record_of(self, failure: Failure) -> JobRecord:
        if failure.job is None:
            try:
                record = await self._inquiries.record(failure.job_id)
            except Exception as error:  # of the store: the function is still called
                telemetry.step_failed(error)
            else:
                if record is not None:
                    return record
        return _record_without_store(failure)

    async def _call(self, func: FailureCall, arguments: Any, failure: Failure) -> None:
        try:
            await asyncio.wait_for(self._free.acquire(), FREE_WITHIN)
        except TimeoutError:
            telemetry.failures_not_told(1, f"{AT_ONCE} earlier calls have not ended yet")
            return
        call = self._call_in_loop if is_async(func) else self._call_in_thread
        ending = call(func, arguments)
        try:
            done, _ = await asyncio.wait({ending}, timeout=TIME_LIMIT)
        except asyncio.CancelledError:
            ending.cancel()
            raise
        name = reference(func)
        if not done:
            ending.cancel()
            telemetry.failure_call_late(name, failure.job_id, failure.task, TIME_LIMIT)
        elif (error := ending.result()) is not None:
            text, error = self._redact(describe(error)), shown(error, self._redact)
            telemetry.failure_call_failed(name, failure.job_id, failure.task, text, error)

    def _call_in_loop(
        self, func: FailureCall, arguments: Any
    ) -> "asyncio.Future[BaseException | None]":
        """Call an `async def` function; the future gets its error."""
        call = _error_of(lambda: func(*arguments))
        task = asyncio.get_running_loop().create_task(call, context=contextvars.Context())
        task.add_done_callback(lambda _: self._free.release())
        return task

    def _call_in_thread(
        self, func: FailureCall, arguments: Any
    ) -> "asyncio.Future[BaseException | None]":
        """Call a `def` function in a thread, which does not keep the process from ending."""
        loop = asyncio.get_running_loop()
        ending: asyncio.Future[BaseException | None] = loop.create_future()

        def deliver(error: BaseException | None) -> None:
            self._free.release()
            if not ending.done():
                ending.set_result(error)

        def call() -> None:
            error: BaseException | None = None
            try:
                value = func(*arguments)
                if isinstance(value, Awaitable):
                    inner = asyncio.run_coroutine_threadsafe(_error_of(lambda: value), loop)
                    error = inner.result()
            except BaseException as raised:
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, error)

        try:
            threading.Thread(target=call, name="afterword-failure", daemon=True).start()
        except RuntimeError as error:  # the system has none left
            deliver(error)
        return ending


async def _error_of(call: Callable[[], Any]) -> BaseException | None:
    """Await what a call returns; return its error: a SystemExit would end the event loop."""
    try:
        await call()
    except BaseException as error:
        return error
    return None


def _record_without_store(failure: Failure) -> JobRecord:
    """Make the record of a job that is in no store, or was deleted meanwhile."""
    job = failure.job or NewJob(id=failure.job_id, task=failure.task)
    now = datetime.now(UTC)
    return JobRecord(
        id=job.id,
        task=job.task,
        arguments=job.arguments,
        queue=job.queue,
        priority=job.priority,
        state=JobState.FAILED,
        attempt=failure.attempt,
        lost=0,
        interrupted=0,
        worker=None,
        after=job.after,
        on_failure=job.on_failure,
        request_id=job.request_id,
        error=None if failure.error is None else describe(failure.error),
        created_at=now,
        run_at=now,
        started_at=None,
        finished_at=now,
        tags=job.tags,
        unique_key=job.unique_key,
        options=job.options,
    )
