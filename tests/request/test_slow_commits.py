"""Commits that take longer than `store_timeout`: the client gets its 503 in time."""

import asyncio
import time
from contextlib import suppress

import pytest
from fastapi import FastAPI

from afterword import Afterword, JobState
from afterword.errors import StoreUnavailable
from afterword.fastapi import BackgroundTasks
from afterword.request.intake import OnFailure, Order
from tests.life.site import note, seen
from tests.request.gates import before_the_store_answers, records, request, started, status_of

pytestmark = pytest.mark.anyio

REFUSED = {JobState.CANCELLED}


@pytest.mark.parametrize("order", ["sequential", "concurrent"])
@pytest.mark.parametrize("on_failure", ["stop", "continue"])
async def test_a_refused_request_runs_nothing_of_what_was_committed(
    order: Order, on_failure: OnFailure, store_url: str
) -> None:
    app = FastAPI()
    afterword = Afterword(app, store_url, order=order, on_failure=on_failure, store_timeout=1.0)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        for text in "ABC":
            background_tasks.add_task(note, text)

    async with started(afterword):
        await afterword.add_task(note, "the first one")
        await records(afterword)
        with before_the_store_answers(afterword) as gate, suppress(StoreUnavailable):
            sent = await request(app)
        committing = gate.reached.is_set()
        jobs = await records(afterword)
        await afterword.add_task(note, "the next one")
        later = await records(afterword)

    assert committing
    assert 503 == status_of(sent)
    assert (3, REFUSED) == (len(jobs[1:]), {job.state for job in jobs[1:]})
    assert 5 == len(later)
    assert ["the first one", "the next one"] == seen


async def test_an_answer_that_came_in_time_is_no_timeout(store_url: str) -> None:
    """A blocked event loop may get the answer and the timeout at once."""
    app = FastAPI()
    afterword = Afterword(app, store_url, store_timeout=1.0)

    @app.post("/")
    async def route(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "stored")
        background_tasks.add_task(lambda: seen.append("here"))
        # As soon as the request waits for the store.
        asyncio.get_running_loop().call_soon(time.sleep, 1.2)

    async with started(afterword):
        sent = await request(app)
        jobs = await records(afterword)

    assert 200 == status_of(sent)
    assert {JobState.COMPLETED} == {job.state for job in jobs}
    assert ["stored", "here"] == seen
