"""An application's lifespan without a server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from afterword.errors import StoreUnavailable
from afterword.process.lifespan import Lifespan, LifespanFailed
from tests.at_work import wait_for

events: list[str] = []


def application(*, at_start: BaseException | None = None, at_end: Any = None) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, int]]:
        events.append("start")
        if at_start:
            raise at_start
        yield {"number": 5}
        events.append("end")
        if at_end:
            raise at_end

    events.clear()
    return Starlette(lifespan=lifespan)


async def run(app: ASGIApp) -> None:
    lifespan = Lifespan(app)
    await lifespan.startup()
    events.append("between")
    await lifespan.shutdown()


def test_it_starts_and_ends() -> None:
    asyncio.run(run(application()))

    assert ["start", "between", "end"] == events


def test_a_start_that_fails_says_why() -> None:
    with pytest.raises(LifespanFailed, match=r"startup failed: (?s:.)*ValueError: no pool") as met:
        asyncio.run(run(application(at_start=ValueError("no pool"))))

    assert isinstance(met.value.__cause__, ValueError)


def test_an_end_that_fails_says_why() -> None:
    with pytest.raises(LifespanFailed, match=r"shutdown failed: (?s:.)*ValueError: no end"):
        asyncio.run(run(application(at_end=ValueError("no end"))))


def test_our_own_errors_stay_what_they_are() -> None:
    with pytest.raises(StoreUnavailable):
        asyncio.run(run(application(at_start=StoreUnavailable("away"))))


def test_an_application_without_a_lifespan_is_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """End at once."""

    with pytest.raises(LifespanFailed, match=r"its lifespan ended"):
        asyncio.run(run(app))


async def _cancelled() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append("starting")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("tidied up")

    events.clear()
    lifespan = Lifespan(app)
    starting = asyncio.ensure_future(lifespan.startup())
    await wait_for(lambda: events, description="it is starting")
    starting.cancel()
    await lifespan.cancel()


def test_a_start_can_be_cancelled() -> None:
    asyncio.run(_cancelled())

    assert ["starting", "tidied up"] == events
