"""The application that the crash tests serve and kill. Environment variables control it:

- STORE: the URL of the store.
- LEDGER: the file in which tasks and store note their steps.
- LEASE, GRACE, CONCURRENCY, ORDER: options of `Afterword`.
- WORKER: 0 for a process that only stores jobs.
- EVERY: the policies for missed occurrences, such as "one all": one schedule for each, once a
  second. EVERY_GRACE: the `grace` of `Afterword.every`.
- WITHOUT: a task that this release does not have yet.
- CHANGED: a task that has another signature in this release.
- CRASH_AT, CRASH_AFTER: die at this point of the store's work, when it is passed the n-th time.

The points are those at which a job changes hands:

    stored      the request's jobs are committed, the client has no answer yet
    claimed     the claims are committed, no user code has run
    ran         user code has returned, nothing is written yet
    settling    the outcomes are written, but not committed
    settled     the outcomes are committed, the worker has not been told
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from afterword import Afterword
from afterword.fastapi import BackgroundTasks
from afterword.model.job import NewJob
from afterword.model.outcome import Released, RetryAt
from afterword.store import postgres, sqlite
from afterword.store.protocol import Added, Claim, Settlement
from tests.crash import tasks
from tests.crash.ledger import is_occurrence, number_of


class Witness:
    """A mixin for stores: it writes down what was committed, and dies at the given point."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._crash_at = os.environ.get("CRASH_AT", "")
        self._passes_left = int(os.environ.get("CRASH_AFTER", "1"))
        self._depth = 0
        self._points: set[str] = set()  # points that this transaction passes when it is committed
        self._accepted: list[Settlement] = []
        self._created: list[NewJob] = []  # by schedules

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction, and witness it before and after its commit."""
        self._depth += 1
        try:
            with super().transaction():  # type: ignore[misc]
                yield
                if self._depth == 1 and "settled" in self._points:
                    self._pass("settling")
            if self._depth == 1:
                self._committed()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._points.clear()
                self._accepted.clear()
                self._created.clear()

    def _committed(self) -> None:
        for point in sorted(self._points):
            self._pass(point)
        for claim, outcome in ((each.claim, each.outcome) for each in self._accepted):
            event = "returned" if isinstance(outcome, Released | RetryAt) else "accepted"
            tasks.ledger.write(number_of(claim), claim.attempt, event)
        for job in self._created:
            tasks.ledger.write(number_of(job), 0, "created")

    def _pass(self, point: str) -> None:
        if point == self._crash_at:
            self._passes_left -= 1
            if self._passes_left == 0:
                os._exit(1)

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Add jobs; those of schedules go into the ledger once they are committed."""
        with self.transaction():
            self._points.add("stored")
            added: Sequence[Added] = super().add(jobs, held_by)  # type: ignore[misc]
            pairs = zip(jobs, added, strict=True)
            self._created += [job for job, each in pairs if each.added and is_occurrence(job)]
        return added

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Claim jobs, and pass the points around the commit."""
        with self.transaction():
            claims: Sequence[Claim] = super().claim(worker, queues, limit, skip)  # type: ignore[misc]
            if claims:
                self._points.add("claimed")
        return claims

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle attempts; the accepted ones go into the ledger once they are committed."""
        self._pass("ran")
        with self.transaction():
            self._points.add("settled")
            accepted: Sequence[bool] = super().settle(settlements)  # type: ignore[misc]
            ended = zip(settlements, accepted, strict=True)
            self._accepted += [settlement for settlement, ours in ended if ours]
        return accepted


class WitnessSQLiteStore(Witness, sqlite.SQLiteStore):
    """A witness on SQLite."""


class WitnessPostgresStore(Witness, postgres.PostgresStore):
    """A witness on PostgreSQL."""


def with_other_signature(func: Callable[..., object]) -> Callable[..., object]:
    """Do nothing: a release's version of a task, with one more parameter."""

    async def changed(number: int, seconds: float, colour: str) -> None:
        raise AssertionError("nobody ever says which colour")

    changed.__module__, changed.__qualname__ = func.__module__, func.__qualname__
    return changed


class Order(BaseModel):
    """A client's order: one job per number."""

    task: str = "work"
    numbers: list[int]
    seconds: float = 0.0


async def events() -> AsyncIterator[str]:
    """Send a stream that does not end by itself."""
    while True:
        yield "data: still here\n\n"
        await asyncio.sleep(0.1)


def plan(afterword: Afterword) -> None:
    """Declare the schedules that the environment names."""
    grace = float(os.environ.get("EVERY_GRACE", "60"))
    for lane, missed in enumerate(os.environ.get("EVERY", "").split(), 1):
        every = afterword.every(
            seconds=1,
            name=f"tick-{missed}",
            missed=missed,  # type: ignore[arg-type]  # checked there
            grace=grace,
            kwargs={"lane": lane},
        )
        every(tasks.tick)


def mend_sleep() -> None:
    """Mend `time.sleep` under libfaketime, which takes its deadline for a wall clock's."""

    def sleep(seconds: float, /) -> None:
        threading.Event().wait(seconds)

    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        time.sleep = sleep  # type: ignore[assignment]


def build() -> FastAPI:
    """Build the application as the environment says."""
    mend_sleep()
    logging.basicConfig(level=logging.INFO)
    sqlite.SQLiteStore = WitnessSQLiteStore  # type: ignore[misc]  # in this process only
    postgres.PostgresStore = WitnessPostgresStore  # type: ignore[misc]
    vars(tasks).pop(os.environ.get("WITHOUT", ""), None)
    if changed := os.environ.get("CHANGED"):
        setattr(tasks, changed, with_other_signature(tasks.TASKS[changed]))
    app = FastAPI()
    app.state.afterword = Afterword(
        app,
        os.environ["STORE"],
        lease=float(os.environ.get("LEASE", "30")),
        grace=float(os.environ.get("GRACE", "20")),
        concurrency=int(os.environ.get("CONCURRENCY", "8")),
        worker=os.environ.get("WORKER") != "0",
        order="concurrent" if os.environ.get("ORDER") == "concurrent" else "sequential",
    )

    @app.post("/orders", status_code=201)
    async def take_order(order: Order, background_tasks: BackgroundTasks) -> list[str]:
        if order.task not in tasks.TASKS:
            raise HTTPException(422, f"task is one of {sorted(tasks.TASKS)}")
        func, add = tasks.TASKS[order.task], background_tasks.add_task
        return [add(func, number, order.seconds).id for number in order.numbers]

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    plan(app.state.afterword)
    return app


app = build()
