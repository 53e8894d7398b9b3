"""The application that the crash tests serve and kill. Environment variables say how it behaves:

- STORE: the URL of the store.
- LEDGER: the file in which tasks and store write down what they did.
- LEASE, GRACE, CONCURRENCY, ORDER: as of `Afterword`.
- WORKER: 0 for a process that only stores jobs.
- WITHOUT: a task that this release does not have yet.
- CHANGED: a task of which this release has another signature.
- CRASH_AT, CRASH_AFTER: die at this point of the store's work, at the n-th time it is passed.

The points are those between which a job changes hands:

    stored      the request's jobs are committed, the client has no answer yet
    claimed     jobs are committed as ours, no user code has run
    ran         user code has returned, nothing is written yet
    settling    the outcomes are written, but not committed
    settled     the outcomes are committed, and nobody has been told
"""

import asyncio
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from afterword import Afterword
from afterword.fastapi import BackgroundTasks
from afterword.job import NewJob
from afterword.outcome import Released
from afterword.store import Added, Claim, Settlement
from afterword.stores import postgres, sqlite
from tests.crash.ledger import Ledger, number_of

ledger = Ledger(Path(os.environ["LEDGER"]))
attempts: dict[int, int] = {}  # number: the newest attempt that was given to this process


class Witness:
    """Makes any store write down what it has committed, and die where it is told to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
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

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """As the store's; a held job is this process's first attempt."""
        self._points.add("stored")
        attempts.update((number_of(job.arguments), 1) for job in jobs if job.held)
        added: Sequence[Added] = super().add(jobs, held_by)  # type: ignore[misc]
        return added

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """As the store's."""
        with self.transaction():
            claims: Sequence[Claim] = super().claim(worker, queues, limit, skip)  # type: ignore[misc]
            attempts.update((number_of(claim.arguments), claim.attempt) for claim in claims)
            if claims:
                self._points.add("claimed")
        return claims

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """As the store's; what it accepted goes into the ledger once it is committed."""
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


async def hold_gil(number: int, seconds: float) -> None:
    """A task that lets no other thread of its process run, as bad C code does."""
    with on_record(number):
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


async def exit_worker(number: int, seconds: float) -> None:
    """A task that ends its process without a signal."""
    with on_record(number):
        await asyncio.sleep(seconds)
        os._exit(13)


async def segfault(number: int, seconds: float) -> None:
    """A task that reads where nothing is, as bad C code does."""
    with on_record(number):
        await asyncio.sleep(seconds)
        ctypes.string_at(0)


TASKS = {
    func.__name__: func
    for func in (work, work_in_thread, block, kill_worker, hold_gil, exit_worker, segfault)
}


def with_other_signature(func: Callable[..., object]) -> Callable[..., object]:
    """What a release has that asks for more than the one before."""

    async def changed(number: int, seconds: float, colour: str) -> None:
        raise AssertionError("nobody ever says which colour")

    changed.__module__, changed.__qualname__ = func.__module__, func.__qualname__
    return changed


class Order(BaseModel):
    """What a client wants done: one job per number."""

    task: str = "work"
    numbers: list[int]
    seconds: float = 0.0


def build() -> FastAPI:
    """The application as the environment wants it."""
    logging.basicConfig(level=logging.INFO)
    sqlite.SQLiteStore = WitnessSQLiteStore  # type: ignore[misc]  # in this process only
    postgres.PostgresStore = WitnessPostgresStore  # type: ignore[misc]
    globals().pop(os.environ.get("WITHOUT", ""), None)
    if changed := os.environ.get("CHANGED"):
        globals()[changed] = with_other_signature(globals()[changed])
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
        if order.task not in TASKS:
            raise HTTPException(422, f"task is one of {sorted(TASKS)}")
        add = background_tasks.add_task
        return [add(TASKS[order.task], number, order.seconds).id for number in order.numbers]

    return app


app = build()
