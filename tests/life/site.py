"""An Afterword that runs on a store, with or without requests, and tasks that note their steps."""

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
    """Note the text, in a thread."""
    seen.append(text)
    return text


async def note_async(text: str) -> str:
    """Note the text, in the event loop."""
    seen.append(text)
    return text


def wait_at_gate(name: str) -> str:
    """Keep a thread until the test opens the gate."""
    seen.append(name)
    gate.wait(PATIENCE)
    seen.append(f"{name} ends")
    return "late"


async def sleep_long(name: str) -> None:
    """Sleep until cancelled."""
    seen.append(name)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        seen.append(f"{name} tidied up")


async def ignore_the_end(name: str) -> str:
    """Go on when cancelled."""
    seen.append(name)
    while not gate.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            seen.append(f"{name} goes on")
    return "late"


def fail(text: str) -> None:
    """Raise."""
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
    """Open another Afterword on the store, which runs nothing."""
    afterword = Afterword(None, url)
    try:
        yield afterword
    finally:
        afterword.close()


def store_of(afterword: Afterword) -> Store:
    """Return the store itself, with its verbs for people."""
    return afterword.inquiries.store()


async def job_of(afterword: Afterword, job: Job[Any]) -> Job[Any]:
    """Return a new handle of a job, with its record as it is now."""
    found = await afterword.job(job.id)
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Site:
    """A served application with one route; `post` calls it."""

    app: FastAPI
    afterword: Afterword
    client: httpx.AsyncClient
    jobs: list[Job[Any]]  # returned by the calls of the last request

    async def post(self, path: str = "/", **options: Any) -> list[str]:
        """Send a request; returns the ids of its jobs at its end."""
        self.jobs.clear()
        answer = await self.client.post(path, **options)
        assert 200 == answer.status_code, answer.text
        return [job.id for job in self.jobs]


Add = Callable[[BackgroundTasks], list[Job[Any]]]


@asynccontextmanager
async def serving(url: str, add: Add, **options: Any) -> AsyncIterator[Site]:
    """Serve an application whose requests add jobs, in the test's event loop."""
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
