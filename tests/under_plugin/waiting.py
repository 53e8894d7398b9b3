"""Without the fixture `jobs`: a request waits for its tasks, if they can run now."""

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from afterword import JobState
from afterword.errors import WouldBlock
from tests.under_plugin.shop import afterword, app, done, told


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()
    told.clear()


def test_requests_wait_for_their_tasks() -> None:
    """No worker in another process is needed."""
    with TestClient(app) as client:
        client.post("/tasks")

        assert [1, 2, 3] == done


def test_not_started_they_run_in_the_request() -> None:
    TestClient(app).post("/tasks")

    assert [1, 2, 3] == done


def test_a_failed_task_does_not_fail_its_request() -> None:
    """Its retries do not wait; the call on its failure is waited for."""
    with TestClient(app) as client:
        response = client.post("/one/fail")
        assert [(4, "boom")] == told
        job = afterword.job_sync(response.json()["id"])

    assert 200 == response.status_code
    assert job is not None
    assert (JobState.FAILED, 4) == (job.state, job.attempt)
    assert 4 * [5] == done


def test_a_delayed_job_is_not_waited_for() -> None:
    with TestClient(app) as client:
        job = afterword.job_sync(client.post("/delayed").json()["id"])

    assert job is not None
    assert (JobState.QUEUED, []) == (job.state, done)


def test_a_task_that_always_asks_for_a_retry_is_not_waited_for() -> None:
    with TestClient(app) as client:
        client.post("/one/poll")

    assert 101 == len(done)


def test_queues_of_other_workers_are_served() -> None:
    with TestClient(app) as client:
        client.post("/one/report")

        assert ["report"] == done


def test_a_route_may_wait_for_its_job() -> None:
    with TestClient(app) as client:
        assert "6: none" == client.post("/awaited").json()


def test_an_application_in_an_event_loop_that_stands_still_is_refused() -> None:
    """A session fixture has started it, and the test has another event loop."""

    async def post(path: str) -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post(path)

    with asyncio.Runner() as session:
        lifespan = app.router.lifespan_context(app)
        session.run(lifespan.__aenter__())
        try:
            asyncio.run(post("/delayed"))  # it would wait for nothing
            with pytest.raises(WouldBlock, match="the same loop scope"):
                asyncio.run(post("/tasks"))
        finally:
            session.run(lifespan.__aexit__(None, None, None))


def test_the_real_store_is_never_touched() -> None:
    with TestClient(app) as client:
        client.post("/tasks")

    assert "afterword-" in afterword.url
    assert "afterword-" in os.environ["AFTERWORD_URL"]
    assert [] == [path for path in Path().rglob("*") if ".db" in path.name]
