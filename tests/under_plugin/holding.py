"""The fixture `jobs`: tasks run when the test says so, with every kind of client and test."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, JobState
from afterword.errors import WouldBlock
from afterword.fastapi import BackgroundTasks
from afterword.pytest_plugin import Jobs
from tests.under_plugin.shop import (
    add_another,
    add_from_elsewhere,
    afterword,
    app,
    blocking,
    compute,
    count,
    done,
    fail,
    get_name,
    note_name,
    poll,
    slow,
    tidy,
    told,
)


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()
    told.clear()


@pytest.fixture(params=["bare", "started", "of the module"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    if request.param == "bare":
        yield TestClient(app)
    elif request.param == "started":
        with TestClient(app) as client:
            yield client
    else:
        yield request.getfixturevalue("shared_client")


@pytest.fixture(scope="module")
def shared_client() -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def states(jobs: Jobs) -> list[JobState]:
    return [job.state for job in jobs.added()]


def test_a_task_is_a_function(jobs: Jobs) -> None:
    """A name would match no job, and the test would never fail."""
    with pytest.raises(TypeError, match="this is a str"):
        assert not jobs.added("shop:slow")  # type: ignore[arg-type]


def test_jobs_are_held_until_they_are_run(client: TestClient, jobs: Jobs) -> None:
    client.post("/tasks")

    assert [] == done
    assert 3 * [JobState.QUEUED] == states(jobs)
    ran = jobs.run()
    assert [1, 2, 3] == done
    assert [job.id for job in jobs.added()] == [job.id for job in ran]
    assert 3 * [JobState.COMPLETED] == [job.state for job in ran]
    assert "1: one" == ran[0].result
    assert [] == jobs.run()


def test_a_job_is_queued_when_its_request_has_ended(client: TestClient, jobs: Jobs) -> None:
    """Its request held it, and has released it."""
    for _ in range(20):
        job = afterword.job_sync(client.post("/delayed?seconds=0").json()["id"])

        assert job is not None
        assert JobState.QUEUED == job.state


def test_they_are_found_by_task_and_arguments(client: TestClient, jobs: Jobs) -> None:
    client.post("/tasks")

    assert 2 == len(jobs.added(slow))
    assert 1 == len(jobs.added(slow, number=1, note="one"))
    assert 1 == len(jobs.added(slow, note="none"))  # its default
    assert not jobs.added(slow, number=2)
    afterword.add_task_sync(count, 1, 2)
    assert jobs.added(count, numbers=[1, 2])
    assert jobs.added(count, numbers=(1, 2))
    assert not jobs.added(fail)
    with pytest.raises(TypeError, match="has no parameter nubmer"):
        jobs.added(slow, nubmer=1)
    with pytest.raises(TypeError, match="needs the task, too"):
        jobs.added(number=1)


def test_each_attempt_by_itself(client: TestClient, jobs: Jobs) -> None:
    client.post("/one/fail")

    job = jobs.run_next()
    assert job is not None
    assert (JobState.QUEUED, 1, []) == (job.state, job.attempt, told)
    assert "boom" in str(job.error)
    (job,) = jobs.run()
    assert (JobState.FAILED, 4) == (job.state, job.attempt)
    assert [(4, "boom")] == told
    assert jobs.run_next() is None
    assert 4 * [5] == done


def test_a_delayed_job_waits_for_the_time_to_be_moved(client: TestClient, jobs: Jobs) -> None:
    client.post("/delayed")

    assert [] == jobs.run()
    jobs.move_time(3500)
    jobs.run()
    assert [] == [each for each in done if each != "tidied"]
    jobs.move_time(timedelta(seconds=100))
    jobs.run()
    assert 4 in done


def test_moving_the_time_lets_schedules_make_jobs(client: TestClient, jobs: Jobs) -> None:
    assert not jobs.added(tidy)
    jobs.move_time(timedelta(hours=1))

    added = jobs.added(tidy)
    assert len(added) in (6, 7)  # one more if the test met a tenth minute
    jobs.run()
    assert len(added) * ["tidied"] == done


def test_time_moves_forward_only(jobs: Jobs) -> None:
    with pytest.raises(ValueError, match="by must be"):
        jobs.move_time(-1)


def test_jobs_that_tasks_add_run_as_well(client: TestClient, jobs: Jobs) -> None:
    client.post("/one/another")
    jobs.run()

    assert ["first", 9] == done
    assert 1 == len(jobs.added(add_another))
    assert 1 == len(jobs.added(blocking, number=9))


def test_a_task_that_always_asks_for_a_retry_comes_to_an_end(
    shared_client: TestClient, jobs: Jobs
) -> None:
    shared_client.post("/one/poll")
    jobs.run()

    assert 101 == len(done)
    assert not jobs.run()
    assert JobState.QUEUED == jobs.added(poll)[0].state


def test_calls_that_cannot_be_stored_run_in_their_request(client: TestClient, jobs: Jobs) -> None:
    """They run at once: the stored jobs before them are held by the test."""
    client.post("/unstorable")

    assert ["here"] == done
    jobs.run()
    assert ["here", 7] == done


def test_each_test_begins_without_jobs(client: TestClient, jobs: Jobs) -> None:
    """Jobs of earlier tests are gone, even if the application keeps running."""
    assert not jobs.added()
    assert not jobs.run()


def test_jobs_that_are_added_outside_of_requests(jobs: Jobs) -> None:
    afterword.add_task_sync(slow, 1)
    jobs.run()

    assert [1] == done


def app_named(name: str) -> FastAPI:
    app = FastAPI()
    Afterword(app)
    app.dependency_overrides[get_name] = lambda: name

    @app.post("/")
    async def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note_name)  # type: ignore[call-overload]

    return app


def test_applications_that_the_test_makes(jobs: Jobs) -> None:
    """Jobs run in the newest application of a URL; earlier tests may leave others behind."""
    apps = []
    for name in ("first", "second"):
        apps.append(app_named(name))
        TestClient(apps[-1]).post("/")
        jobs.run()

    assert ["first", "second"] == done


def test_tasks_run_in_processes_of_their_own(shared_client: TestClient, jobs: Jobs) -> None:
    afterword.add_task_sync(compute, 4)
    (job,) = jobs.run()

    assert 8 == job.result


def test_such_a_process_has_the_stores_of_the_test(shared_client: TestClient, jobs: Jobs) -> None:
    """It makes an Afterword of its own, which must not use the URL of the real store."""
    afterword.add_task_sync(add_from_elsewhere, 4)
    first, second = jobs.run()

    assert [second.id] == [first.result] == [job.id for job in jobs.added(blocking, number=4)]
    assert [4] == done
    assert not Path("real.db").exists()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["bare", "started"])
async def async_client(
    request: pytest.FixtureRequest, anyio_backend: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "started":
            await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        yield await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://shop")
        )


@pytest.mark.anyio
async def test_async_tests(async_client: httpx.AsyncClient, jobs: Jobs) -> None:
    await async_client.post("/tasks")
    await afterword.add_task(slow, 4)

    assert [] == done
    first = await jobs.run_next_async()
    assert first is not None
    assert "1: one" == first.result
    assert 3 == len(await jobs.run_async())
    assert {1, 2, 3, 4} == set(done)
    assert jobs.added(slow, number=4)

    await async_client.post("/one/fail")
    await jobs.run_async()
    assert [(4, "boom")] == told


@pytest.mark.anyio
async def test_an_event_loop_is_not_blocked(jobs: Jobs) -> None:
    with pytest.raises(WouldBlock, match=r"await jobs\.run_async\(\)"):
        jobs.run()
