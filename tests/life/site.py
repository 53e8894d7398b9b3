"""An Afterword with a store, with or without requests, and tasks that record their runs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette

from afterword import Afterword, Job
from afterword.fastapi import BackgroundTasks
from afterword.store.protocol import Store

seen: list[Any] = []
gate = threading.Event()

PATIENCE = 60.0  # seconds


# ---------------------------------------------------------------------- tasks


def note(text: str) -> str:
    """The simplest task."""
    seen.append(text)
    return text


async def note_async(text: str) -> str:
    """The same in the event loop."""
    seen.append(text)
    return text


def wait_at_gate(name: str) -> str:
    """Keeps a thread until the test opens the gate."""
    seen.append(name)
    gate.wait(PATIENCE)
    seen.append(f"{name} ends")
    return "late"


async def sleep_long(name: str) -> None:
    """Ends when it is made to."""
    seen.append(name)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        seen.append(f"{name} tidied up")


async def ignore_the_end(name: str) -> str:
    """Will not be cancelled."""
    seen.append(name)
    while not gate.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            seen.append(f"{name} goes on")
    return "late"


def fail(text: str) -> None:
    """Raises."""
    seen.append(text)
    raise RuntimeError(text)


# ---------------------------------------------------------------------- at work


@asynccontextmanager
async def working(url: str, **options: Any) -> AsyncIterator[Afterword]:
    """Start an application's Afterword, and drain it afterwards."""
    afterword = Afterword(Starlette(), url, **{"grace": 2.0, **options})
    await afterword.start()
    try:
        yield afterword
    finally:
        gate.set()
        await afterword.stop()


@contextmanager
def script(url: str) -> Iterator[Afterword]:
    """Another user of the store, who runs nothing."""
    afterword = Afterword(None, url)
    try:
        yield afterword
    finally:
        afterword.close()


def store_of(afterword: Afterword) -> Store:
    """The store itself; its verbs for people."""
    return afterword.inquiries.store()


async def job_of(afterword: Afterword, job: Job[Any]) -> Job[Any]:
    """A new handle, with the present values of the store."""
    found = await afterword.job(job.id)
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Site:
    """A served application with one route; `post` calls it."""

    app: FastAPI
    afterword: Afterword
    client: httpx.AsyncClient
    jobs: list[Job[Any]]  # what the last request's calls returned

    async def post(self, path: str = "/", **options: Any) -> list[str]:
        """Send a request; the ids of its jobs, as they are when it is over."""
        self.jobs.clear()
        answer = await self.client.post(path, **options)
        assert 200 == answer.status_code, answer.text
        return [job.id for job in self.jobs]


Add = Callable[[BackgroundTasks], list[Job[Any]]]


@asynccontextmanager
async def serving(url: str, add: Add, **options: Any) -> AsyncIterator[Site]:
    """An application whose requests add jobs, in the loop of the test."""
    app = FastAPI()
    afterword = Afterword(app, url, **{"grace": 2.0, **options})
    jobs: list[Job[Any]] = []

    @app.post("/{path:path}")
    async def route(background_tasks: BackgroundTasks) -> None:
        jobs.extend(add(background_tasks))

    transport = httpx.ASGITransport(app)
    await afterword.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            yield Site(app, afterword, client, jobs)
    finally:
        gate.set()
        await afterword.stop()
