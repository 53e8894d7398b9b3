"""`Afterword(...)`: its options, its place in an application, and its use without one."""

import asyncio
import math
import os
import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette

from afterword import Afterword, AfterwordError, JobState, NotStorable
from afterword.errors import ArgumentError, ConfigurationError, WouldBlock
from afterword.fastapi import BackgroundTasks
from afterword.model.job import NewJob
from tests import warm
from tests.at_work import at_work, ended, url_in
from tests.helpers import ROOT, wait_until

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


def note(text: str) -> None:
    ran.append(text)


# ---------------------------------------------------------------------- options

# Invalid values of `concurrency`.
WRONG: list[tuple[str, Any, str]] = [
    ("concurrency", 0, "a whole number from 1 to 10000, but it is 0."),
    ("concurrency", -1, "but it is -1."),
    ("concurrency", 10**6, "but it is 1000000."),
    ("concurrency", 1.5, "but it is 1.5."),
    ("concurrency", True, "but it is True."),
    ("concurrency", "4", "but it is '4'."),
    ("concurrency", None, "but it is None."),
    ("lease", 0, "a number of seconds from 0.5 to 86400, but it is 0."),
    ("lease", 0.49, "but it is 0.49."),
    ("lease", -30, "but it is -30."),
    ("lease", math.nan, "but it is nan."),
    ("lease", math.inf, "but it is inf."),
    ("lease", "30", "but it is '30'."),
    ("grace", -0.1, "a number of seconds from 0 to 86400, but it is -0.1."),
    ("grace", False, "but it is False."),
    ("retention", -1, "but it is -1."),
    ("retention", 1e12, "but it is 1000000000000.0."),
    ("store_timeout", 0, "but it is 0."),
    ("order", "random", "one of ['sequential', 'concurrent'], but it is 'random'."),
    ("order", None, "but it is None."),
    ("order", ["sequential"], "but it is ['sequential']."),
    ("on_failure", "retry", "one of ['stop', 'continue'], but it is 'retry'."),
    ("strict", "no", "True or False, but it is 'no'."),
    ("strict", 1, "but it is 1."),
    ("worker", None, "True or False, but it is None."),
]


@pytest.mark.parametrize(
    ("option", "value", "said"), WRONG, ids=[f"{name}={value}" for name, value, _ in WRONG]
)
def test_an_option_that_cannot_be_is_refused_at_once(option: str, value: Any, said: str) -> None:
    app = FastAPI()
    with pytest.raises(ConfigurationError) as refusal:
        Afterword(app, **{option: value})

    assert str(refusal.value).startswith(f"{option} must be ")
    assert said in str(refusal.value)
    assert isinstance(refusal.value, ValueError | AfterwordError)
    assert [] == app.user_middleware


@pytest.mark.parametrize(
    ("unknown", "right"),
    [
        ({"workers": False}, "Afterword(app, worker=False)  # correct!"),
        ({"retry": "s3cret"}, "Afterword(app, retries=...)  # correct!"),
        ({"wat": "s3cret"}, "There is none like it."),
    ],
)
def test_an_option_that_does_not_exist_is_refused_with_the_right_one(
    unknown: dict[str, Any], right: str
) -> None:
    with pytest.raises(ConfigurationError, match="is not one of the options") as refusal:
        Afterword(None, "sqlite:///never-made.db", **unknown)

    assert right in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 1, "lease": 0.5, "grace": 0, "retention": 0, "store_timeout": 0.01},
        {"concurrency": 10_000, "lease": 86_400, "grace": 86_400},
        {"order": "concurrent", "on_failure": "continue", "strict": True, "worker": False},
    ],
)
def test_an_option_may_be_at_its_limit(options: dict[str, Any]) -> None:
    assert isinstance(Afterword(FastAPI(), **options), Afterword)


@pytest.mark.parametrize("url", [5, Path("jobs.db"), b"sqlite:///jobs.db"])
def test_a_url_is_text(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="A store URL is text"):
        Afterword(url=url)


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWORD_URL", url_in(tmp_path))
    from_environment = Afterword()
    given = Afterword(url=f"sqlite:///{tmp_path}/given.db")
    monkeypatch.setenv("AFTERWORD_URL", "")
    default = Afterword()

    assert url_in(tmp_path) == from_environment.runtime.store.url
    assert f"sqlite:///{tmp_path}/given.db" == given.runtime.store.url
    assert f"sqlite:///{Path.cwd().resolve()}/afterword.db" == default.runtime.store.url


def test_constructing_writes_nothing(tmp_path: Path) -> None:
    Afterword(FastAPI(), f"sqlite:///{tmp_path / 'jobs.db'}")

    assert [] == list(tmp_path.iterdir())


# ---------------------------------------------------------------------- the application


def test_twice_for_one_application_is_refused(tmp_path: Path) -> None:
    app = FastAPI()
    Afterword(app, url_in(tmp_path))
    with pytest.raises(ConfigurationError, match="must be called once per application"):
        Afterword(app, url_in(tmp_path))


def test_after_the_first_request_it_is_too_late(tmp_path: Path) -> None:
    app = FastAPI()
    TestClient(app).get("/")
    with pytest.raises(ConfigurationError, match="before the application starts"):
        Afterword(app, url_in(tmp_path))


@pytest.mark.parametrize("app", ["main:app", object(), TestClient, lambda: None])
def test_anything_else_is_no_application(app: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs a FastAPI or Starlette application"):
        Afterword(app, url_in(tmp_path))


def test_an_application_starts_again_after_it_was_stopped(tmp_path: Path) -> None:
    app = FastAPI()
    afterword = Afterword(app, url_in(tmp_path))
    for text in ("0", "1", "2"):
        with TestClient(app):
            afterword.add_task_sync(note, text)
            wait_until(partial(ran.__contains__, text), description="the job has run")

    assert ["0", "1", "2"] == ran


@pytest.mark.anyio
async def test_starting_and_stopping_twice_is_harmless(tmp_path: Path, anyio_backend: str) -> None:
    async with at_work(tmp_path) as afterword:
        await afterword.start()
        await ended(afterword, await afterword.add_task(note, "once"))
        await afterword.stop()
        await afterword.stop()

    assert ["once"] == ran


# ---------------------------------------------------------------------- scripts, other processes


def test_a_script_adds_a_job_and_an_application_runs_it(tmp_path: Path) -> None:
    script = Afterword(url=url_in(tmp_path))
    job = script.add_task_sync(note, "from a script")
    before = script.runtime.store.get([job.id])[0]
    script.close()
    app = FastAPI()
    Afterword(app, url_in(tmp_path))
    with TestClient(app):
        wait_until(lambda: ran, description="the application runs the job")

    assert (JobState.QUEUED, 0, None) == (before.state, before.attempt, before.worker)
    assert ["from a script"] == ran


SCRIPT = """
from afterword import Afterword
from tests.test_app import note

Afterword(url={url!r}).add_task_sync(note, "without close()")
"""


def test_a_script_need_not_close(tmp_path: Path) -> None:
    """The job is durable when `add_task_sync` has returned."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = SCRIPT.format(url=url_in(tmp_path))
    warm.run([sys.executable, "-c", script], env=environment, check=True, timeout=30)
    app = FastAPI()
    Afterword(app, url_in(tmp_path))
    with TestClient(app):
        wait_until(lambda: ran, description="the application runs the job")

    assert ["without close()"] == ran


def test_many_threads_of_a_script_add_their_first_jobs_at_once(tmp_path: Path) -> None:
    script = Afterword(url=url_in(tmp_path))
    barrier = threading.Barrier(16)

    def add(number: int) -> None:
        barrier.wait()
        script.add_task_sync(note, f"{number}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = script.runtime.store.count()
    script.close()

    assert 16 == counts[JobState.QUEUED]


@pytest.mark.anyio
async def test_many_coroutines_of_a_script_add_their_first_jobs_at_once(
    tmp_path: Path, anyio_backend: str
) -> None:
    script = Afterword(url=url_in(tmp_path))
    await asyncio.gather(*(script.add_task(note, f"{number}") for number in range(16)))
    counts = script.runtime.store.count()
    script.close()

    assert 16 == counts[JobState.QUEUED]


@pytest.mark.anyio
async def test_without_a_worker_jobs_are_stored_for_others(
    tmp_path: Path, anyio_backend: str
) -> None:
    """A web process beside worker processes leaves the jobs of its requests to them."""
    app = FastAPI()
    Afterword(app, url_in(tmp_path), worker=False)

    @app.post("/")
    def add(background_tasks: BackgroundTasks) -> str:
        return background_tasks.add_task(note, "stored here, run there").id

    def request() -> str:
        with TestClient(app) as client:
            answer: str = client.post("/").json()
            return answer

    job_id = await asyncio.to_thread(request)
    assert [] == ran
    async with at_work(tmp_path) as other:
        after = await ended(other, NewJob(id=job_id, task="any"))

    assert (JobState.COMPLETED, 1) == (after.state, after.attempt)


@pytest.mark.anyio
async def test_two_applications_share_the_work_of_one_file(
    tmp_path: Path, anyio_backend: str
) -> None:
    async with at_work(tmp_path, worker=False) as web, at_work(tmp_path):
        job = await web.add_task(note, "noticed at once")
        after = await ended(web, job)

    assert web.runtime.leases.worker != after.worker
    assert ["noticed at once"] == ran


# ---------------------------------------------------------------------- add_task and job


@pytest.mark.anyio
async def test_add_task_returns_what_job_finds(tmp_path: Path, anyio_backend: str) -> None:
    async with at_work(tmp_path) as afterword:
        job = await afterword.add_task(note, "text")
        found = await ended(afterword, job)

    assert job.durable
    assert (job.id, f"{__name__}:note", '{"text":"text"}') == (job.id, found.task, found.arguments)
    assert found.started_at is not None
    assert found.finished_at is not None
    assert found.created_at <= found.started_at <= found.finished_at


@pytest.mark.anyio
@pytest.mark.parametrize("job_id", ["", "unknown", "'; DROP TABLE jobs; --", "\0", "x" * 10_000])
async def test_job_is_none_for_what_nobody_knows(
    job_id: str, tmp_path: Path, anyio_backend: str
) -> None:
    script = Afterword(url=url_in(tmp_path))
    found = await script.job(job_id)
    script.close()

    assert found is None


@pytest.mark.anyio
async def test_what_is_wrong_raises_and_stores_nothing(tmp_path: Path, anyio_backend: str) -> None:
    async with at_work(tmp_path) as afterword:
        with pytest.raises(NotStorable):
            await afterword.add_task(lambda: None)
        with pytest.raises(ArgumentError):
            await afterword.add_task(note)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="Pass the function"):
            await afterword.add_task(None)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="not iterated"):
            await afterword.add_task(generate)
        counts = afterword.runtime.store.count()

    assert 0 == sum(counts.values())


def generate() -> Any:
    yield


@pytest.mark.anyio
async def test_what_blocks_is_refused_in_the_event_loop(tmp_path: Path, anyio_backend: str) -> None:
    """The error comes at once, with the right line: a job of this process could never end."""
    async with at_work(tmp_path) as afterword:
        job = await afterword.add_task(note, "x")
        await ended(afterword, job)
        calls: dict[str, Callable[[], object]] = {
            "await afterword.add_task(...)": lambda: afterword.add_task_sync(note, "x"),
            "await afterword.job(id)": lambda: afterword.job_sync(job.id),
            "await job.wait()": job.wait_sync,
            "await job.refresh()": job.refresh_sync,
            "await job.cancel()": job.cancel_sync,
        }
        for right, call in calls.items():
            with pytest.raises(WouldBlock, match=re.escape(f"{right}  # correct!")):
                call()
        found = await asyncio.to_thread(job.wait_sync, 20)

    assert JobState.COMPLETED is found.state


def test_a_starlette_application_is_one_too(tmp_path: Path) -> None:
    app = Starlette()
    afterword = Afterword(app, url_in(tmp_path))
    with TestClient(app):
        assert afterword.started
    assert not afterword.started
