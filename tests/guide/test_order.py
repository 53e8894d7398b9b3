"""Several tasks of one request: they run in order, and a failure stops the later ones."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, Job, JobState
from afterword.fastapi import BackgroundTasks

done: list[str] = []
both = threading.Barrier(2, timeout=60)


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


def reserve() -> None:
    done.append("reserved")


async def pack() -> None:
    done.append("packed")


def break_down() -> None:
    raise RuntimeError("the forklift is broken")


def meet() -> None:
    """End when another task runs at the same moment."""
    both.wait()


def jobs_of_a_request(
    app: FastAPI, afterword: Afterword, *tasks: Callable[[], Any]
) -> list[Job[Any]]:
    """Send a request that adds these tasks, and wait for its jobs."""

    @app.post("/orders")
    async def order(background_tasks: BackgroundTasks) -> list[str]:
        return [background_tasks.add_task(func).id for func in tasks]

    with TestClient(app) as client:
        jobs = [afterword.job_sync(job_id) for job_id in client.post("/orders").json()]
        return [job.wait_sync(timeout=60) for job in jobs if job]


def test_tasks_run_in_the_order_in_which_they_were_added(
    app: FastAPI, afterword: Afterword
) -> None:
    """This holds for mixed `def` and `async def` tasks, and if a process dies in between."""
    jobs_of_a_request(app, afterword, reserve, pack, reserve)

    assert ["reserved", "packed", "reserved"] == done


def test_a_failure_cancels_the_later_ones(app: FastAPI, afterword: Afterword) -> None:
    """The third task never starts. If the second is retried, the third waits for it."""
    jobs = jobs_of_a_request(app, afterword, reserve, break_down, pack)

    assert [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED] == [job.state for job in jobs]
    assert "an earlier task of this request failed" == jobs[2].error
    assert ["reserved"] == done


def test_a_failure_may_be_ignored(app: FastAPI, url: str) -> None:
    """`on_failure="continue"` keeps the order, and runs the next job."""
    afterword = Afterword(app, url, on_failure="continue")
    jobs = jobs_of_a_request(app, afterword, break_down, pack)

    assert [JobState.FAILED, JobState.COMPLETED] == [job.state for job in jobs]
    assert ["packed"] == done


def test_tasks_may_be_independent(app: FastAPI, url: str) -> None:
    """With `order="concurrent"` they run at the same time: these two wait for each other."""
    afterword = Afterword(app, url, order="concurrent")
    jobs = jobs_of_a_request(app, afterword, meet, meet)

    assert [JobState.COMPLETED, JobState.COMPLETED] == [job.state for job in jobs]
