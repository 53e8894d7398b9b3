"""Calls that cannot be stored: they run in the request, in order, or are refused if strict."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from afterword import JobState, NotStorable, telemetry
from afterword.fastapi import BackgroundTasks
from tests.compatibility.conftest import Serve
from tests.compatibility.versions import EXITS_AFTER_RESPONSE
from tests.sites import fail, note, noted


class Session:
    """A live object, which JSON cannot hold."""

    def __init__(self) -> None:
        self.open = True


def use(session: Session) -> None:
    noted.append("open" if session.open else "closed")


def note_slowly(text: str) -> None:
    time.sleep(0.05)
    noted.append(text)


@pytest.fixture
def app() -> FastAPI:
    telemetry._warned.clear()
    return FastAPI()


@pytest.mark.skipif(not EXITS_AFTER_RESPONSE, reason="exits before the response in this FastAPI")
def test_a_task_that_takes_a_session_runs_before_it_closes(app: FastAPI, serve: Serve) -> None:
    def session() -> Iterator[Session]:
        session = Session()
        yield session
        session.open = False

    @app.get("/")
    def handler(
        session: Annotated[Session, Depends(session)], background_tasks: BackgroundTasks
    ) -> None:
        background_tasks.add_task(use, session)

    site = serve(app)
    site.client.get("/")

    assert ["open"] == site.ran()
    assert [] == site.jobs()


@pytest.mark.parametrize(
    "make",
    [lambda: lambda: noted.append("ran"), lambda: Noter().note],
    ids=["lambda", "bound method"],
)
def test_functions_without_a_name_run_in_the_request(
    app: FastAPI, serve: Serve, make: Callable[[], Callable[[], None]]
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> bool:
        return background_tasks.add_task(make()).durable

    site = serve(app)
    response = site.client.get("/")

    assert response.json() is False
    assert ["ran"] == noted
    assert [] == site.jobs()


class Noter:
    def note(self) -> None:
        noted.append("ran")


def test_in_its_place_in_the_order(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note_slowly, "1 stored")
        background_tasks.add_task(lambda: noted.append("2 in the request"))
        background_tasks.add_task(note_slowly, "3 stored")
        background_tasks.add_task(note, "4 stored")
        background_tasks.add_task(lambda: noted.append("5 in the request"))
        background_tasks.add_task(note, "6 stored")

    site = serve(app)
    site.client.get("/")

    assert [
        "1 stored",
        "2 in the request",
        "3 stored",
        "4 stored",
        "5 in the request",
        "6 stored",
    ] == site.ran()


def test_a_failure_before_it_stops_it(app: FastAPI, serve_started: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(fail, "stored, failed")
        background_tasks.add_task(lambda: noted.append("must not run"))
        background_tasks.add_task(note, "must not run either")

    site = serve_started(app)
    site.client.get("/")

    assert ["stored, failed"] == site.ran()
    assert [JobState.FAILED, JobState.CANCELLED] == site.states()


def test_its_failure_stops_what_comes_after_and_nothing_else(
    app: FastAPI, serve_started: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(note, "before")
        background_tasks.add_task(lambda: fail("failed"))
        background_tasks.add_task(note, "must not run")
        return "ok"

    site = serve_started(app)
    response = site.client.get("/")

    assert "ok" == response.json()
    assert ["before", "failed"] == site.ran()
    assert [JobState.COMPLETED, JobState.CANCELLED] == site.states()
    assert "RuntimeError: failed" in caplog.text


def test_one_warning_per_function_says_why_and_what_to_do(
    app: FastAPI, serve_started: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(use, Session())

    site = serve_started(app)
    with caplog.at_level(logging.WARNING, "afterword"):
        site.client.get("/")
        site.client.get("/")

    warnings = [each.getMessage() for each in caplog.records if "not_durable" in each.getMessage()]
    assert 1 == len(warnings)
    assert "'session'" in warnings[0]
    assert "Pass an id or a path instead" in warnings[0]


def test_strict_refuses_it_where_it_is_added(app: FastAPI, serve_started: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "must not run")
        background_tasks.add_task(use, Session())

    site = serve_started(app, strict=True)

    with pytest.raises(NotStorable, match="session"):
        site.client.get("/")

    assert [] == site.jobs()
    assert [] == noted


def test_a_handler_that_raises_drops_it(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(lambda: noted.append("must not run"))
        raise RuntimeError("handler")

    site = serve(app)

    with pytest.raises(RuntimeError, match="handler"):
        site.client.get("/")

    assert [] == noted
