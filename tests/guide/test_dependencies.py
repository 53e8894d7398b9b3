"""Dependencies: a task declares them as a route does, and gets new ones for each attempt.

A dependency is not an argument: it is not stored, and `add_task` does not take it.
"""

from collections.abc import Iterator

import pytest
import wireup
import wireup.integration.fastapi
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from wireup import Injected, injectable
from wireup.integration.fastapi import WireupTask

from afterword import Afterword, JobState, current_task, task
from afterword.fastapi import BackgroundTasks

ledger: list[str] = []  # stands for a database


class Session:
    """A session that collects lines, and writes them when it commits."""

    def __init__(self) -> None:
        self.lines: list[str] = []


def open_session() -> Iterator[Session]:
    session = Session()
    yield session
    ledger.extend(session.lines)  # the commit; an exception of the task is raised at the `yield`


@pytest.fixture(autouse=True)
def _empty_ledger() -> None:
    ledger.clear()


@task(retries=1, backoff=0)
def ship(order_id: int, session: Session = Depends(open_session)) -> None:
    """Take `order_id` as an argument, and `session` as a dependency."""
    attempt = current_task().attempt
    session.lines.append(f"order {order_id} shipped on attempt {attempt}")
    if attempt == order_id:
        raise ConnectionError("the first attempt of order 1 fails")


def test_a_task_has_dependencies_of_its_own(app: FastAPI, afterword: Afterword) -> None:
    """The request's session is closed when the task starts, and its commit is visible."""

    @app.post("/orders/{order_id}")
    def order(
        order_id: int, background_tasks: BackgroundTasks, session: Session = Depends(open_session)
    ) -> str:
        session.lines.append(f"order {order_id} taken")
        return background_tasks.add_task(ship, order_id).id

    with TestClient(app) as client:
        job = afterword.job_sync(client.post("/orders/7").json())
        assert job is not None
        job.wait_sync(timeout=60)

    assert ["order 7 taken", "order 7 shipped on attempt 1"] == ledger


def test_a_failed_attempt_rolls_back(app: FastAPI, afterword: Afterword) -> None:
    """Each attempt has its own session; the first one's changes are rolled back."""
    with TestClient(app):
        job = afterword.add_task_sync(ship, 1).wait_sync(timeout=60)

    assert (JobState.COMPLETED, 2) == (job.state, job.attempt)
    assert ["order 1 shipped on attempt 2"] == ledger


def test_a_dependency_can_be_overridden(app: FastAPI, afterword: Afterword) -> None:
    """`dependency_overrides` work as in routes; they are looked up when an attempt starts."""
    other = Session()
    app.dependency_overrides[open_session] = lambda: other
    with TestClient(app):
        afterword.add_task_sync(ship, 7).wait_sync(timeout=60)

    assert ["order 7 shipped on attempt 1"] == other.lines
    assert [] == ledger


@injectable
class Greeter:
    """A service of Wireup's container."""

    def greet(self, name: str) -> str:
        return f"Hello {name}"


def greet(name: str, greeter: Injected[Greeter]) -> str:
    return greeter.greet(name)


def test_wireup_injects_into_tasks(app: FastAPI, afterword: Afterword) -> None:
    """`wireup_task` is Wireup's own way to write it; `add_task(greet, name)` is the same job."""

    @app.post("/greetings/{name}")
    def add(name: str, tasks: BackgroundTasks, wireup_task: Injected[WireupTask]) -> str:
        return tasks.add_task(wireup_task(greet), name).id

    services = [Greeter, wireup.integration.fastapi]
    wireup.integration.fastapi.setup(wireup.create_async_container(injectables=services), app)
    with TestClient(app) as client:
        job = afterword.job_sync(client.post("/greetings/Ann").json())
        assert job is not None
        job.wait_sync(timeout=60)

    assert "Hello Ann" == job.result
