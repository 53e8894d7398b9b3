"""An Afterword that runs jobs in the test's own event loop, without an HTTP request around it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
from starlette.applications import Starlette

from afterword import Afterword, Job, JobRecord
from afterword.client.operation import adding
from afterword.model.job import NewJob
from afterword.store.protocol import Claim, held_claim
from tests.helpers import pauses
from tests.stores import new_file

HasId = NewJob | Job[Any]


def url_in(folder: Path, name: str = "jobs.db") -> str:
    """Return the URL of a store in this folder; creates the store if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    return f"sqlite:///{path}" if path.exists() else new_file(path)


@asynccontextmanager
async def at_work(folder: Path, **options: Any) -> AsyncIterator[Afterword]:
    """Start an application's Afterword, and drain it afterwards."""
    afterword = Afterword(Starlette(), url_in(folder), **options)
    await afterword.start()
    try:
        yield afterword
    finally:
        await afterword.stop()


async def wait_for(
    predicate: Callable[[], object], *, description: str, timeout: float = 60.0
) -> None:
    """Do as `tests.helpers.wait_until`, without blocking the event loop."""
    deadline = asyncio.get_running_loop().time() + timeout
    pause = pauses()
    while not predicate():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {description}")
        await asyncio.sleep(next(pause))


async def record(afterword: Afterword, job: HasId) -> JobRecord:
    """Return the job's record in the store."""
    found = await afterword.job(job.id)
    assert found is not None
    assert found.record is not None
    return found.record


async def ended(afterword: Afterword, job: HasId, *, timeout: float = 60.0) -> JobRecord:
    """Wait until a job has ended; returns its record."""
    deadline = asyncio.get_running_loop().time() + timeout
    pause = pauses()
    while not (found := await record(afterword, job)).state.final:
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: the job has ended: {found}")
        await asyncio.sleep(next(pause))
    return found


def edit(folder: Path, statement: str, *values: Any) -> None:
    """Change the store's file by hand, with the database's checks switched off."""
    connection = apsw.Connection(str(folder / "jobs.db"))
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(statement, values)
    connection.close()


async def store_jobs(afterword: Afterword, jobs: Sequence[NewJob]) -> list[Claim]:
    """Store jobs as they are; returns the claims of those that are held for this process."""
    worker = afterword.runtime.leases.worker
    await afterword.runtime.group.run(adding(jobs, worker), 20.0)
    return [held_claim(job, worker, 0.0) for job in jobs if job.held]


def asked(job: Job[Any]) -> Job[Any]:
    """Ask the store about a job at once, by `refresh_sync` in a thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(job.refresh_sync).result()
