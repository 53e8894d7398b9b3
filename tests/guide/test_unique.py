"""Double clicks and repeated requests: they get one job."""

import threading

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword
from afterword.fastapi import Accepted, BackgroundTasks

go_on = threading.Event()


@pytest.fixture(autouse=True)
def _gate() -> None:
    go_on.clear()


def build(report: int) -> None:
    go_on.wait(60)


def test_a_key_has_one_unfinished_job(app: FastAPI, afterword: Afterword) -> None:
    """A key is free when its job has ended. Other keys, and jobs without one, are independent."""
    with TestClient(app):
        first = afterword.options(unique="report:7").add_task_sync(build, 7)
        again = afterword.options(unique="report:7").add_task_sync(build, 7)
        other = afterword.options(unique="report:8").add_task_sync(build, 8)
        go_on.set()
        first.wait_sync(timeout=60)
        later = afterword.options(unique="report:7").add_task_sync(build, 7)

    assert first.id == again.id
    assert 3 == len({first.id, other.id, later.id})


def test_other_arguments_are_a_conflict(app: FastAPI, afterword: Afterword) -> None:
    """The handle is that of the existing job; `conflict` says that its arguments differ."""
    with TestClient(app):
        first = afterword.options(unique="report").add_task_sync(build, 7)
        again = afterword.options(unique="report").add_task_sync(build, 8)
        go_on.set()

    assert first.id == again.id
    assert (False, True) == (first.conflict, again.conflict)


def test_a_repeated_request_gets_the_same_jobs(app: FastAPI, url: str) -> None:
    """The header is `Idempotency-Key`. The job stays the same even after it has ended."""
    Afterword(app, url, idempotent=lambda request: request.headers.get("user"))

    @app.post("/reports/{report}")
    async def order(report: int, background_tasks: BackgroundTasks) -> Accepted:
        return Accepted(background_tasks.add_task(build, report))

    def post(user: str, key: str) -> str:
        headers = {"user": user, "Idempotency-Key": key}
        return str(client.post("/reports/7", headers=headers).json()["id"])

    with TestClient(app) as client:
        go_on.set()
        first, again = post("ann", "8e03978e"), post("ann", "8e03978e")
        others = {post("ann", "40d54fdb"), post("bob", "8e03978e")}

    assert first == again
    assert 3 == len({first, *others})
