"""Ask a fleet about a job that was handed over to it.

Answers come from the result backend of the other system, which may hang like a broker. So a few
daemon threads ask, and no caller waits longer than two seconds.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace

from afterword.fleets.recognition import remote_task
from afterword.fleets.remote import ANSWER_WITHIN, fleet_id
from afterword.model.fork import in_child
from afterword.model.job import JobRecord, JobState
from afterword.model.threads import Threads

_AT_ONCE = 4
_MOST = 1_000  # questions that wait; more are not asked


class FleetInquiries:
    """Asks fleets, in threads of its own."""

    def __init__(self) -> None:
        self._forget()
        in_child(self._forget)

    def _forget(self) -> None:
        self._threads = Threads(_AT_ONCE, "afterword-ask")
        self._lock = threading.Lock()
        self._waiting = 0  # questions without an answer

    async def current(self, record: JobRecord, func: object) -> JobRecord:
        """Return a job that was handed over with the state that it has in its fleet.

        It is unchanged if the fleet has no result backend, does not answer, or does not have it.

        Args:
            func: the task, as its name resolves.
        """
        remote = remote_task(func)
        if record.state is not JobState.HANDED_OVER or remote is None:
            return record
        counts = (record.failures, record.lost, record.interrupted)
        asked_id = fleet_id(record.id, record.attempt, *counts)
        state = await self._within(lambda: remote.ask(asked_id))
        # When it ended, a fleet does not say.
        return record if state is None else replace(record, state=state, finished_at=None)

    async def _within(self, ask: Callable[[], JobState | None]) -> JobState | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[JobState | None] = loop.create_future()

        def call() -> None:
            state = None
            with contextlib.suppress(Exception):  # of the other system's client
                state = None if answer.cancelled() else ask()  # its caller waits no more
            with self._lock:
                self._waiting -= 1
            with contextlib.suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(_answer, answer, state)

        with self._lock:
            if self._waiting >= _MOST:
                return None
            self._waiting += 1
            self._threads.submit(call)
        try:
            return await asyncio.wait_for(answer, ANSWER_WITHIN)
        except TimeoutError:
            return None


def _answer(future: "asyncio.Future[JobState | None]", state: JobState | None) -> None:
    if not future.done():
        future.set_result(state)
