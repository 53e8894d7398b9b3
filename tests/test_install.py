"""`Afterword()` before there is an application, and `install(app)` later."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette

from afterword import Afterword, Job, task
from afterword.errors import ConfigurationError, NotInstalled
from afterword.fastapi import AfterwordDep, BackgroundTasks
from tests import warm
from tests.at_work import url_in
from tests.helpers import ROOT, wait_until

done: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    done.clear()


@pytest.fixture
def afterword(tmp_path: Path) -> Iterator[Afterword]:
    afterword = Afterword(url=url_in(tmp_path))
    yield afterword
    afterword.close()


@task(retries=1)
def note(text: str) -> None:
    done.append(text)


def get_name() -> str:
    return "real"


def note_name(name: Annotated[str, Depends(get_name)]) -> None:
    done.append(name)


async def note_store(afterword: AfterwordDep) -> None:
    done.append((await afterword.add_task(note, "from a task")).task)


def app_of(afterword: Afterword) -> FastAPI:
    """Make an application as a factory does."""
    app = FastAPI()
    afterword.install(app)

    @app.post("/notes/{text}")
    async def add(text: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, text)

    @app.post("/names")
    async def add_name(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note_name)  # type: ignore[call-overload]

    return app


def expect(*values: Any) -> None:
    wait_until(lambda: list(values) == done, description=f"{values} are done")


def test_jobs_run_in_the_application_that_is_installed_later(afterword: Afterword) -> None:
    with TestClient(app_of(afterword)) as client:
        client.post("/notes/x")
        expect("x")


def test_schedules_may_be_declared_before(afterword: Afterword) -> None:
    afterword.every(seconds=1)(note_tick)
    with TestClient(app_of(afterword)):
        wait_until(lambda: "tick" in done, description="an occurrence has run")


def note_tick() -> None:
    done.append("tick")


def test_a_router_may_be_made_before(afterword: Afterword) -> None:
    router = afterword.jobs_router(authorize=lambda: True)
    app = app_of(afterword)
    app.include_router(router)
    with TestClient(app) as client:
        job = afterword.add_task_sync(note, "x").wait_sync(timeout=60)

        assert "completed" == client.get(f"/jobs/{job.id}").json()["state"]


def test_a_router_without_authorize_is_for_an_application_with_debug(afterword: Afterword) -> None:
    with pytest.raises(ConfigurationError, match="before this call"):
        afterword.jobs_router()
    afterword.install(FastAPI(debug=True))

    assert "/jobs" == afterword.jobs_router().prefix


def test_jobs_may_be_bound_before(tmp_path: Path) -> None:
    afterword = Afterword(url=f"sqlite+pysqlite:///{tmp_path / 'app.db'}")
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with Session(engine) as session:
        afterword.bind(session).add_task(note, "bound")
        session.commit()
    engine.dispose()
    with TestClient(app_of(afterword)):
        expect("bound")


def test_a_factory_may_make_several_applications(afterword: Afterword) -> None:
    """Each application has its own overrides, in any order of creation."""
    first, second = app_of(afterword), app_of(afterword)
    first.dependency_overrides[get_name] = lambda: "first"
    for app, name in [(first, "first"), (second, "real"), (first, "first")]:
        done.clear()
        with TestClient(app) as client:
            client.post("/names")
            expect(name)
        done.clear()
        TestClient(app).post("/names")  # not started: the task runs in the request
        assert [name] == done


def test_only_one_of_them_runs_at_a_time(afterword: Afterword) -> None:
    first, second = app_of(afterword), app_of(afterword)
    with TestClient(first):
        with pytest.raises(ConfigurationError, match="one application at a time"):
            afterword.install(FastAPI())
        with (
            pytest.raises(ConfigurationError, match="one application at a time"),
            TestClient(second),
        ):
            pass


def test_an_application_has_one(afterword: Afterword) -> None:
    app = app_of(afterword)
    with pytest.raises(ConfigurationError, match="once per application"):
        afterword.install(app)
    with pytest.raises(ConfigurationError, match="needs a FastAPI or Starlette application"):
        afterword.install("app")  # type: ignore[arg-type]


def test_starlette_works_as_well(afterword: Afterword) -> None:
    app = Starlette()
    afterword.install(app)
    with TestClient(app):
        afterword.add_task_sync(note, "x")
        expect("x")


def test_without_a_worker_it_only_adds(tmp_path: Path) -> None:
    afterword = Afterword(url=url_in(tmp_path), worker=False)
    with TestClient(app_of(afterword)) as client:
        client.post("/notes/x")
        workers = afterword.inquiries.store().workers()

    assert [0] == [each.concurrency for each in workers]


# ---------------------------------------------------------------------- as a parameter


def test_the_afterword_is_a_parameter_of_routes(afterword: Afterword) -> None:
    app = app_of(afterword)
    met = []

    def depends_on_it(here: AfterwordDep) -> Afterword:
        return here

    @app.post("/")
    async def route(here: AfterwordDep, other: Annotated[Any, Depends(depends_on_it)]) -> Job[None]:
        met.extend([here, other])
        return await here.add_task(note, "x")

    with TestClient(app) as client:
        client.post("/")
        expect("x")

    assert [afterword, afterword] == met


def test_a_mounted_application_has_its_own(afterword: Afterword, tmp_path: Path) -> None:
    inner, outer = FastAPI(), app_of(afterword)
    own = Afterword(inner, url=f"sqlite:///{tmp_path / 'inner.db'}")
    outer.mount("/inner", inner)
    met: list[Afterword] = []

    @inner.get("/")
    @outer.get("/")
    def route(here: AfterwordDep) -> None:
        met.append(here)

    with TestClient(outer) as client:
        client.get("/inner/")
        client.get("/")

    assert [own, afterword] == met


def test_in_a_task_it_adds_jobs_of_the_attempt(afterword: Afterword) -> None:
    with TestClient(app_of(afterword)):
        afterword.add_task_sync(note_store)  # type: ignore[call-overload]
        expect(f"{__name__}:note", "from a task")


def test_without_afterword_the_parameter_says_so() -> None:
    app = FastAPI()

    @app.get("/")
    def route(here: AfterwordDep) -> None: ...

    with pytest.raises(NotInstalled, match=r"AfterwordDep needs Afterword"):
        TestClient(app).get("/")


# ---------------------------------------------------------------------- modules and workers

SCRIPT = """
import asyncio
from examples.several_modules.background import afterword
from examples.several_modules.orders import send_receipt

print(afterword.add_task_sync(send_receipt, 7).id)
"""


@pytest.mark.parametrize("name", ["app", "create_app()"])
def test_a_worker_runs_the_jobs_of_all_modules(name: str, tmp_path: Path) -> None:
    """The worker also runs jobs that a script without an application has added."""
    environment = {**os.environ, "AFTERWORD_URL": url_in(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return warm.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    run("-c", SCRIPT)
    worker = warm.Popen(
        [sys.executable, "-m", "afterword", "worker", f"examples.several_modules.main:{name}"],
        cwd=tmp_path,
        env=environment,
    )
    try:
        receipts = tmp_path / "receipts.log"
        wait_until(receipts.exists, description="the receipt is written", timeout=30)
    finally:
        worker.terminate()
        worker.wait(timeout=30)

    assert "receipt for order 7\n" == receipts.read_text()


def test_a_factory_is_named_with_its_call(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "afterword", "worker"]
    ended = warm.run(
        [*command, "examples.several_modules.main:create_app"],
        cwd=ROOT,
        env={**os.environ, "AFTERWORD_URL": url_in(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == ended.returncode
    assert "write examples.several_modules.main:create_app()" in " ".join(ended.stderr.split())
