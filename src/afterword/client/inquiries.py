"""Queries about jobs to the store, from any thread or event loop."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from afterword.client.group_commit import GroupCommit
from afterword.client.operation import calling, waking
from afterword.errors import StoreError, StoreUnavailable, UnknownTask
from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.fork import in_child
from afterword.model.job import JobRecord
from afterword.model.outcome import storable_text
from afterword.store.protocol import Store
from afterword.tasks.registry import resolve

FIND_WITHIN = 0.05  # seconds for which add_task waits to learn whether a unique job is there
FINDING = 8  # lookups at the same time; if a store does not answer, no more are started
AWAY_FOR = 30.0  # seconds for which the store may be away while a job is waited for
LOOK_WITHIN = 1.0  # seconds for the worker of this process to notice a cancelled job


class Inquiries:
    """Queries one store.

    Args:
        group: runs the store; started by the first question.
    """

    def __init__(self, group: GroupCommit, clock: Clock) -> None:
        self._group = group
        self._clock = clock
        self._asking = threading.Semaphore(FINDING)
        in_child(self._forget)
        self.on_cancel: Callable[[Store], object] | None = None  # the worker of this process looks

    def _forget(self) -> None:
        """Forget, in a forked child, the lookups of the parent."""
        self._asking = threading.Semaphore(FINDING)

    @property
    def is_open(self) -> bool:
        """True once the store has been opened, so that `store()` takes no time."""
        return self._group.running

    def store(self) -> Store:
        """The store, opened if necessary; its queries may be called in any thread.

        Raises:
            StoreError: it cannot be opened.
        """
        if not self.is_open:
            self._group.start()
        return self._group.store

    def store_after_writes(self) -> Store:
        """The store, when all that was submitted before is written; blocks."""
        store = self.store()
        self._group.run_blocking(waking())
        return store

    async def records(self, ids: Sequence[str]) -> Sequence[JobRecord]:
        """The present records of these jobs."""
        return await asyncio.to_thread(lambda: self.store().get(ids))

    async def record(self, job_id: str) -> JobRecord | None:
        """The present record of a job; None if there is no such job."""
        return await asyncio.to_thread(self.record_sync, job_id)

    def record_sync(self, job_id: str) -> JobRecord | None:
        """`record` for threads and scripts; blocks."""
        found = self.store().get([job_id])
        return found[0] if found else None

    def find_unique(self, unique_key: str, *, ended: bool) -> JobRecord | None:
        """The job that has this unique key, as a hint: the store decides when the job is added.

        The lookup runs in its own thread, with a short time limit, because the event loop may wait
        for it. While too many lookups have no answer, no further one is started.
        """
        if not self._asking.acquire(blocking=False):
            return None
        found: list[JobRecord | None] = []
        answered = threading.Event()

        def ask() -> None:
            with contextlib.suppress(StoreError):  # adding the job fails then, too, and is logged
                found.append(self.store().with_key(unique_key, ended=ended))
            answered.set()
            self._asking.release()

        threading.Thread(target=ask, name="afterword-lookup", daemon=True).start()
        answered.wait(FIND_WITHIN)
        return found[0] if found else None

    async def cancel(self, job_id: str, reason: str, by: Actor | None = None) -> bool:
        """Cancel a queued job, or ask a running one to end; False: it had already ended."""
        return await asyncio.to_thread(self.cancel_sync, job_id, reason, by)

    def cancel_sync(self, job_id: str, reason: str, by: Actor | None = None) -> bool:
        """`cancel` for threads and scripts; blocks."""
        (done,) = self.store().cancel([job_id], storable_text(reason), by)
        if self.on_cancel:
            # At once, so that a cancelled job which this process holds does not start.
            with contextlib.suppress(StoreError):
                self._group.run_blocking(calling(self.on_cancel), LOOK_WITHIN)
        return done

    async def wait_ended(self, ids: Sequence[str], timeout: float | None = None) -> bool:
        """Wait until these jobs have ended; True if all of them succeeded.

        Raises:
            TimeoutError: not all of them ended within `timeout` seconds.
        """
        look = self._looking(ids)
        done = await asyncio.to_thread(look)  # at least once, with any timeout
        delays = growing_delays()
        try:
            async with asyncio.timeout(timeout):
                while done is None:
                    await asyncio.sleep(next(delays))
                    done = await asyncio.to_thread(look)
        except TimeoutError:
            raise TimeoutError(_not_within(ids, timeout)) from None
        return done

    def wait_ended_sync(self, ids: Sequence[str], timeout: float | None = None) -> bool:
        """`wait_ended` for threads and scripts; blocks."""
        deadline = math.inf if timeout is None else self._clock.monotonic() + timeout
        delays, look = growing_delays(), self._looking(ids)
        while (done := look()) is None:
            if self._clock.monotonic() > deadline:
                raise TimeoutError(_not_within(ids, timeout))
            time.sleep(next(delays))
        return done

    def _looking(self, ids: Sequence[str]) -> Callable[[], bool | None]:
        """Return `_succeeded` of these jobs; it answers None while the store is briefly away."""
        answered_at = float("-inf")

        def look() -> bool | None:
            nonlocal answered_at
            try:
                done = self._succeeded(ids)
            except StoreUnavailable:
                if self._clock.monotonic() > answered_at + AWAY_FOR:
                    raise
                return None
            answered_at = self._clock.monotonic()
            return done

        return look

    def _succeeded(self, ids: Sequence[str]) -> bool | None:
        """True if all of these jobs succeeded; None while some have not ended."""
        records = self.store().get(ids)
        if not all(record.state.final for record in records):
            return None
        return all(record.state.succeeded for record in records)

    def function(self, task: str) -> Callable[..., Any] | None:
        """The function of a task, if this application has it."""
        try:
            return resolve(task)
        except UnknownTask:
            return None


def _not_within(ids: Sequence[str], timeout: float | None) -> str:
    return f"{', '.join(ids)} did not end within {timeout:g} seconds."


def growing_delays() -> Iterator[float]:
    """Seconds between two looks at the store: 1 ms, doubled up to 0.1 s."""
    delay = 0.001
    while True:
        yield delay
        delay = min(delay * 2, 0.1)
