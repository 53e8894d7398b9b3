"""Applications whose lifespan is not run by a server: Afterword starts, or explains why not."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword
from afterword.errors import ConfigurationError, NotStarted
from afterword.fastapi import BackgroundTasks
from afterword.request.middleware import require_asyncio
from tests.helpers import Server, running, wait_until
from tests.life.site import note, seen
from tests.request.gates import request

pytestmark = pytest.mark.anyio


def inner_application(url: str) -> tuple[FastAPI, Afterword]:
    """Make an application with a route that returns whether its job is durable."""
    app = FastAPI()
    afterword = Afterword(app, url)

    @app.post("/add")
    async def add(background_tasks: BackgroundTasks) -> bool:
        return background_tasks.add_task(note, "x").durable

    @app.post("/direct")
    async def direct() -> str:
        return (await afterword.add_task(note, "direct")).id

    return app, afterword


def test_a_mounted_application_whose_lifespan_is_entered_by_hand_is_started(
    file_url: str,
) -> None:
    inner, afterword = inner_application(file_url)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.mount("/inner", inner)
    with TestClient(outer) as client:
        durable = client.post("/inner/add").json()
        wait_until(lambda: seen, description="it has run")

    assert durable
    assert not afterword.started


async def test_a_mounted_application_starts_with_its_first_request(file_url: str) -> None:
    """The outer one has no Afterword, and the server has a lifespan."""
    inner, afterword = inner_application(file_url)
    outer = FastAPI()
    outer.mount("/inner", inner)
    await request(outer, "/inner/add")
    was_started = afterword.started
    await afterword.stop()

    assert was_started
    assert ["x"] == seen


def test_not_started_a_test_client_runs_tasks_here_and_stores_none(
    file_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = inner_application(file_url)
    durable = TestClient(app).post("/add").json()

    assert not durable
    assert ["x"] == seen
    assert "not_started" in caplog.text
    assert "lifespan_context" in caplog.text


def test_not_started_add_task_is_refused_in_a_request(file_url: str) -> None:
    """Its job would wait for a worker that never comes."""
    app, _ = inner_application(file_url)
    with pytest.raises(NotStarted, match="with TestClient"):
        TestClient(app).post("/direct")


APPLICATION = """
from pathlib import Path
from fastapi import FastAPI
from afterword import Afterword
from afterword.fastapi import BackgroundTasks
app = FastAPI()
Afterword(app)
def write(text: str) -> None:
    Path("written").write_text(text)
@app.post("/")
def add(background_tasks: BackgroundTasks) -> bool:
    return background_tasks.add_task(write, "x").durable
"""


def test_a_server_without_a_lifespan_starts_it_with_the_first_request(tmp_path: Path) -> None:
    (tmp_path / "without_lifespan.py").write_text(APPLICATION)
    server = Server("without_lifespan:app", tmp_path, arguments=("--lifespan", "off"))
    with running(server):
        durable = httpx.post(f"{server.url}/", timeout=30).json()
        wait_until((tmp_path / "written").exists, description="the task has run")
        status = server.stop()

    assert durable
    assert status in (0, -15)


def test_another_event_loop_than_asyncios_is_refused() -> None:
    """An example is trio's."""
    with pytest.raises(ConfigurationError, match="needs asyncio's event loop"):
        require_asyncio()


async def test_asyncios_is_not() -> None:
    done: Any = require_asyncio()  # type: ignore[func-returns-value]

    assert done is None
