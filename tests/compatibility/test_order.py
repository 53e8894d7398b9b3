"""The order of events: stored before the first byte, run after the last dependency has closed."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afterword import JobState
from afterword.fastapi import BackgroundTask, BackgroundTasks
from tests.compatibility.conftest import Serve
from tests.compatibility.versions import EXITS_AFTER_RESPONSE
from tests.sites import Site, fail, note, note_async, noted

_go_on = threading.Event()
_sites: list[Site] = []


def wait_to_go_on() -> None:
    """Run until the test has looked."""
    assert _go_on.wait(60)
    noted.append("went on")


def delete(path: Path) -> None:
    path.unlink()
    noted.append("deleted")


def look_for_rows(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        noted.append(f"{connection.scalar(text('SELECT count(*) FROM users'))} rows")
    engine.dispose()


class Spy:
    """A middleware that sees the store at each message the application sends."""

    def __init__(self, app: ASGIApp, seen: list[tuple[str, list[JobState]]]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def look_then_send(message: Message) -> None:
            if scope["type"] == "http":
                states = [job.state for job in _sites[0].jobs()]
                self.seen.append((message["type"], states))
            await send(message)

        await self.app(scope, receive, look_then_send)


@pytest.fixture
def app() -> Iterator[FastAPI]:
    _go_on.clear()
    _sites.clear()
    yield FastAPI()
    _go_on.set()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'users.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (name TEXT)"))
    yield engine
    engine.dispose()


def test_jobs_are_stored_and_held_before_the_first_byte(app: FastAPI, serve_started: Serve) -> None:
    seen: list[tuple[str, list[JobState]]] = []
    app.add_middleware(Spy, seen=seen)

    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "first")
        background_tasks.add_task(note, "second")

    _sites.append(serve_started(app))
    _sites[0].client.get("/")

    # The first is held by this process, the second waits for it.
    held = [JobState.RUNNING, JobState.QUEUED]
    assert [("http.response.start", held), ("http.response.body", held)] == seen
    assert ["first", "second"] == _sites[0].ran()


def test_nothing_runs_before_the_body_has_been_sent(app: FastAPI, serve: Serve) -> None:
    def body() -> Iterator[str]:
        for part in ("a", "b", "c"):
            time.sleep(0.02)  # long enough for a task to come between
            noted.append(part)
            yield part

    @app.get("/", response_model=None)
    def handler(background_tasks: BackgroundTasks) -> StreamingResponse:
        background_tasks.add_task(note_async, "task")
        return StreamingResponse(body())

    site = serve(app)
    response = site.client.get("/")

    assert "abc" == response.text
    assert ["a", "b", "c", "task"] == site.ran()


def test_a_task_may_delete_the_file_that_was_sent(
    app: FastAPI, serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "report.txt"
    file.write_text("content" * 50_000)

    @app.get("/", response_model=None)
    def handler(background_tasks: BackgroundTasks) -> FileResponse:
        background_tasks.add_task(delete, file)
        return FileResponse(file)

    site = serve(app)
    response = site.client.get("/")

    assert "content" * 50_000 == response.text
    assert ["deleted"] == site.ran()
    assert not file.exists()


def test_dependencies_close_before_the_tasks_run(app: FastAPI, serve_started: Serve) -> None:
    def resource() -> Iterator[None]:
        noted.append("opened")
        yield
        noted.append("closed")

    @app.get("/", dependencies=[Depends(resource)])
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "task")
        noted.append("handled")

    site = serve_started(app)
    site.client.get("/")

    assert ["opened", "handled", "closed", "task"] == site.ran()


@pytest.mark.parametrize("first", ["the session", "the tasks"])
def test_a_task_finds_the_row_its_request_committed(
    app: FastAPI, serve_started: Serve, engine: Engine, first: str
) -> None:
    """With FastAPI the session commits after the tasks, which find no row."""

    def session() -> Iterator[Session]:
        with Session(engine) as session, session.begin():
            yield session

    Opened = Annotated[Session, Depends(session)]  # noqa: N806
    url = engine.url.render_as_string()

    def save(session: Session, background_tasks: BackgroundTasks) -> None:
        session.execute(text("INSERT INTO users VALUES ('ada')"))
        background_tasks.add_task(look_for_rows, url)

    if first == "the session":

        @app.post("/")
        def handler(session: Opened, background_tasks: BackgroundTasks) -> None:
            save(session, background_tasks)
    else:

        @app.post("/")
        def handler_too(background_tasks: BackgroundTasks, session: Opened) -> None:
            save(session, background_tasks)

    site = serve_started(app)
    site.client.post("/")

    assert ["1 rows"] == site.ran()


def test_the_session_of_a_failing_task_stays_committed(
    app: FastAPI, serve_started: Serve, engine: Engine
) -> None:
    def session() -> Iterator[Session]:
        with Session(engine) as session, session.begin():
            yield session

    @app.post("/")
    def handler(
        session: Annotated[Session, Depends(session)], background_tasks: BackgroundTasks
    ) -> None:
        session.execute(text("INSERT INTO users VALUES ('ada')"))
        background_tasks.add_task(fail, "failed")

    site = serve_started(app)
    response = site.client.post("/")

    assert 200 == response.status_code
    assert [JobState.FAILED] == site.states()
    with engine.connect() as connection:
        assert 1 == connection.scalar(text("SELECT count(*) FROM users"))


@pytest.mark.skipif(not EXITS_AFTER_RESPONSE, reason="exits before the response in this FastAPI")
def test_tasks_added_while_a_dependency_closes_run(app: FastAPI, serve: Serve) -> None:
    def resource(background_tasks: BackgroundTasks) -> Iterator[None]:
        yield
        background_tasks.add_task(note, "added in the exit")

    @app.get("/", dependencies=[Depends(resource)])
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "added in the handler")

    site = serve(app)
    site.client.get("/")

    assert ["added in the handler", "added in the exit"] == site.ran()


# ---------------------------------------------------------------------- kept as documented


def test_no_keyword_is_reserved(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(take_any, **ANY)

    site = serve(app)
    site.client.get("/")

    assert [f"{ANY}"] == site.ran()


ANY: dict[str, Any] = {"func": "f", "self": "s", "args": [1], "kwargs": {"a": 1}, "task": "t"}


def take_any(**kwargs: Any) -> None:
    noted.append(f"{kwargs}")


def test_tasks_run_in_the_order_they_were_added_by_all_parts(app: FastAPI, serve: Serve) -> None:
    def inner(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note_slowly, "inner")

    def outer(background_tasks: BackgroundTasks, _: Annotated[None, Depends(inner)]) -> None:
        background_tasks.add_task(note_async, "outer")

    @app.get("/", dependencies=[Depends(outer)])
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note_slowly, "handler 1")
        background_tasks.add_task(note_async, "handler 2")

    site = serve(app)
    site.client.get("/")

    assert ["inner", "outer", "handler 1", "handler 2"] == site.ran()


def note_slowly(text: str) -> None:
    time.sleep(0.02)  # a later one would overtake it, if it could
    noted.append(text)


def test_a_failure_stops_the_rest_of_the_request(app: FastAPI, serve_started: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "before")
        background_tasks.add_task(fail, "failed")
        background_tasks.add_task(note, "after")

    site = serve_started(app)
    site.client.get("/")

    assert ["before", "failed"] == site.ran()
    assert [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED] == site.states()
    assert "an earlier task of this request failed" == site.jobs()[-1].error


def test_a_failure_stops_no_other_request(app: FastAPI, serve_started: Serve) -> None:
    @app.get("/{text}")
    def handler(text: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(fail if text == "fail" else note, text)

    site = serve_started(app)
    site.client.get("/fail")
    site.client.get("/ran")

    assert {"fail", "ran"} == set(site.ran())
    assert [JobState.FAILED, JobState.COMPLETED] == site.states()


def test_on_failure_continue_keeps_the_order_but_not_the_stop(
    app: FastAPI, serve_started: Serve
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(fail, "failed")
        background_tasks.add_task(note, "after")

    site = serve_started(app, on_failure="continue")
    site.client.get("/")

    assert ["failed", "after"] == site.ran()
    assert [JobState.FAILED, JobState.COMPLETED] == site.states()


def test_order_concurrent_makes_the_tasks_independent(app: FastAPI, serve_started: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(wait_to_go_on)
        background_tasks.add_task(let_go_on)

    site = serve_started(app, order="concurrent")
    site.client.get("/")

    assert [JobState.COMPLETED, JobState.COMPLETED] == site.states()


def let_go_on() -> None:
    _go_on.set()


def test_without_a_started_application_errors_reach_the_client(
    app: FastAPI, serve_bare: Serve
) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(fail, "failed")
        background_tasks.add_task(note, "after")

    site = serve_bare(app)

    with pytest.raises(RuntimeError, match="failed"):
        site.client.get("/")

    assert ["failed"] == noted


def test_without_a_started_application_tasks_run_within_the_request(
    app: FastAPI, serve_bare: Serve
) -> None:
    """They run before its dependencies close, as with FastAPI."""

    def resource() -> Iterator[None]:
        yield
        noted.append("closed")

    @app.get("/", dependencies=[Depends(resource)])
    def handler(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "ran")

    site = serve_bare(app)
    site.client.get("/")

    assert (["ran", "closed"] if EXITS_AFTER_RESPONSE else ["closed", "ran"]) == noted


def test_a_running_task_may_add_one_to_its_request(app: FastAPI, serve: Serve) -> None:
    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        def add_another() -> None:
            noted.append("first")
            background_tasks.add_task(note, "second")

        background_tasks.add_task(add_another)

    site = serve(app)
    site.client.get("/")

    assert ["first", "second"] == site.ran()


def test_a_task_added_after_the_request_is_stored_at_once(
    app: FastAPI, serve_started: Serve
) -> None:
    kept: list[BackgroundTasks] = []

    @app.get("/")
    def handler(background_tasks: BackgroundTasks) -> None:
        kept.append(background_tasks)

    site = serve_started(app)
    site.client.get("/")
    job = kept[0].add_task(note, "late")

    assert [job.id] == [each.id for each in site.jobs()]
    assert ["late"] == site.ran()


def test_background_tasks_can_be_awaited_by_hand(app: FastAPI, serve: Serve) -> None:
    """Outside of a request they run in order, as Starlette's do."""
    tasks = BackgroundTasks([BackgroundTask(note, "first"), BackgroundTask(note_async, "second")])
    tasks.add_task(note, "third")

    @app.get("/")
    async def handler() -> None:
        await tasks()

    site = serve(app)
    site.client.get("/")

    assert ["first", "second", "third"] == noted
    assert [] == site.jobs()
