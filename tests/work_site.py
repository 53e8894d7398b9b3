"""An application whose jobs run in `afterword worker`. Environment variables control it:

- LEDGER: the file to which tasks and lifespan append a line for each step.
- WORKER: 1 for a worker in the web process, too.
- GRACE: the option `grace` of `Afterword`.
- START: "fail" or "hang": the fault of the start-up.
"""

import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from afterword import Afterword, task
from afterword.fastapi import BackgroundTasks

clients: list[str] = []  # a singleton that only the lifespan makes


def note(*words: object) -> None:
    """Write a line into the ledger."""
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as ledger:
        ledger.write(" ".join(map(str, words)) + "\n")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    """Make the singleton."""
    if start := os.environ.get("START"):
        note("starting")
        try:
            await asyncio.sleep(30.0 if start == "hang" else 0.0)
        finally:
            note("not started")
        raise RuntimeError("no database")
    clients.append("client")
    yield {"client": "client"}
    clients.clear()
    note("shutdown")


async def work(name: str, seconds: float = 0.0) -> None:
    """An `async def` task that needs the singleton."""
    note("start", name, os.getpid(), *clients)
    await asyncio.sleep(seconds)
    note("end", name, os.getpid(), *clients)


async def work_until(name: str, gate: str) -> None:
    """An `async def` task that waits until a file exists at its gate."""
    note("start", name, os.getpid(), *clients)
    while not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 - others touch it
        await asyncio.sleep(0.02)
    note("end", name, os.getpid(), *clients)


def work_in_thread(name: str, seconds: float = 0.0) -> None:
    """A `def` task, which no shutdown can stop."""
    note("start", name, os.getpid())
    time.sleep(seconds)
    note("end", name, os.getpid())


def _never_ends() -> None:
    while True:
        time.sleep(1)


def terminate_forks(name: str) -> None:
    """A `def` task that terminates its forks, as `multiprocessing.Pool` does."""
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_never_ends) for _ in range(3)]
    for child in children:
        child.start()
        child.terminate()
    for child in children:
        child.join(10)
    note("forks", name, *(child.exitcode for child in children))
    for child in children:
        child.kill()


@task(queue="mail")
async def send(name: str) -> None:
    """A task with its own queue."""
    note("sent", name, os.getpid())


app = FastAPI(lifespan=lifespan)
afterword = Afterword(
    app,
    "sqlite:///jobs.db",
    worker=os.environ.get("WORKER") == "1",
    grace=float(os.environ.get("GRACE", "20")),
    concurrency=5,
)


@app.post("/work/{name}")
async def order(name: str, background_tasks: BackgroundTasks) -> str:
    """Add a job of the task `work`."""
    return background_tasks.add_task(work, name).id


@app.post("/forks/{name}")
async def order_forks(name: str, background_tasks: BackgroundTasks) -> str:
    """Add a job that forks processes."""
    return background_tasks.add_task(terminate_forks, name).id


@app.post("/mail/{name}")
async def order_mail(name: str, background_tasks: BackgroundTasks) -> str:
    """Add a job of the task `send`."""
    return background_tasks.add_task(send, name).id
