"""The application that the crash tests serve and kill. Environment variables say how it behaves:

- LEDGER: the file in which tasks and store write down what they did.
- LEASE, GRACE, CONCURRENCY, ORDER: as of `Afterword`.
- WORKER: 0 for a process that only stores jobs.
- WITHOUT: a task that this release does not have yet.
- CRASH_AT, CRASH_AFTER: die at this point of the store's work, at the n-th time it is passed.

The points are those between which a job changes hands:

    stored      the request's jobs are committed, the client has no answer yet
    claimed     jobs are committed as ours, no user code has run
    ran         user code has returned, nothing is written yet
    settling    the outcomes are written, but not committed
    settled     the outcomes are committed, and nobody has been told
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from afterword import Afterword, Job
from afterword.clock import Clock
from afterword.fastapi import BackgroundTasks
from afterword.outcome import Released
from afterword.store import Claim, Settlement
from afterword.stores import sqlite
from tests.crash.ledger import Ledger, number_of

ledger = Ledger(Path(os.environ["LEDGER"]))
attempts: dict[int, int] = {}  # number: the newest attempt that was given to this process


class WitnessStore(sqlite.SQLiteStore):
    """Writes down what it has committed, and dies where it is told to."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        super().__init__(path, clock)
        self._crash_at = os.environ.get("CRASH_AT", "")
        self._passes_left = int(os.environ.get("CRASH_AFTER", "1"))
        self._depth = 0
        self._points: set[str] = set()  # that this transaction passes when it is committed
        self._accepted: list[Settlement] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, with a witness before and after its commit."""
        self._depth += 1
        try:
            with super().transaction():
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

    def _committed(self) -> None:
        for point in sorted(self._points):
            self._pass(point)
        for claim, outcome in ((each.claim, each.outcome) for each in self._accepted):
            event = "returned" if isinstance(outcome, Released) else "accepted"
            ledger.write(number_of(claim.arguments), claim.attempt, event)

    def _pass(self, point: str) -> None:
        if point == self._crash_at:
            self._passes_left -= 1
            if self._passes_left == 0:
                os._exit(1)

    def add(self, jobs: Sequence[Job], held_by: str | None = None) -> Sequence[bool]:
        """As SQLiteStore's; a held job is this process's first attempt."""
        self._points.add("stored")
        attempts.update((number_of(job.arguments), 1) for job in jobs if job.held)
        return super().add(jobs, held_by)

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """As SQLiteStore's."""
        with self.transaction():
            claims = super().claim(worker, queues, limit, skip)
            attempts.update((number_of(claim.arguments), claim.attempt) for claim in claims)
            if claims:
                self._points.add("claimed")
        return claims

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """As SQLiteStore's; what it accepted goes into the ledger once it is committed."""
        self._pass("ran")
        with self.transaction():
            self._points.add("settled")
            accepted = super().settle(settlements)
            ended = zip(settlements, accepted, strict=True)
            self._accepted += [settlement for settlement, ours in ended if ours]
        return accepted


@contextmanager
def on_record(number: int) -> Iterator[None]:
    """The first and the last thing that every task here does."""
    attempt = attempts[number]
    ledger.write(number, attempt, "started")
    yield
    ledger.write(number, attempt, "finished")


async def work(number: int, seconds: float) -> None:
    """A healthy `async def` task."""
    with on_record(number):
        await asyncio.sleep(seconds)


def work_in_thread(number: int, seconds: float) -> None:
    """A healthy `def` task."""
    with on_record(number):
        time.sleep(seconds)


async def block(number: int, seconds: float) -> None:
    """A task that blocks the event loop, as tasks should not."""
    with on_record(number):
        time.sleep(seconds)  # noqa: ASYNC251 - that is the point


async def kill_worker(number: int, seconds: float) -> None:
    """A task that takes its process with it."""
    with on_record(number):
        await asyncio.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)


TASKS = {func.__name__: func for func in (work, work_in_thread, block, kill_worker)}


class Order(BaseModel):
    """What a client wants done: one job per number."""

    task: str = "work"
    numbers: list[int]
    seconds: float = 0.0


def build() -> FastAPI:
    """The application as the environment wants it."""
    logging.basicConfig(level=logging.INFO)
    sqlite.SQLiteStore = WitnessStore  # type: ignore[misc]  # in this process only
    globals().pop(os.environ.get("WITHOUT", ""), None)
    app = FastAPI()
    app.state.afterword = Afterword(
        app,
        "sqlite:///jobs.db",
        lease=float(os.environ.get("LEASE", "30")),
        grace=float(os.environ.get("GRACE", "20")),
        concurrency=int(os.environ.get("CONCURRENCY", "8")),
        worker=os.environ.get("WORKER") != "0",
        order="concurrent" if os.environ.get("ORDER") == "concurrent" else "sequential",
    )

    @app.post("/orders", status_code=201)
    async def take_order(order: Order, background_tasks: BackgroundTasks) -> list[str]:
        if order.task not in TASKS:
            raise HTTPException(422, f"task is one of {sorted(TASKS)}")
        add = background_tasks.add_task
        return [add(TASKS[order.task], number, order.seconds).id for number in order.numbers]

    return app


app = build()
