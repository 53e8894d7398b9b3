"""Mistakes of users, and the errors that they get."""

import asyncio
import collections
import contextlib
import enum
import functools
import io
import json
import logging
import operator
import os
import re
import shutil
import socket
import sys
import threading
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, UploadFile, WebSocket
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from afterword import (
    Afterword,
    AfterwordError,
    Job,
    JobRecord,
    JobState,
    NotStorable,
    task,
    telemetry,
)
from afterword.errors import (
    ArgumentError,
    ArgumentValueError,
    ConfigurationError,
    DuplicateTask,
    PayloadTooLarge,
    StoreCorrupt,
)
from afterword.fastapi import BackgroundTask, BackgroundTasks
from afterword.request.intake import Order
from afterword.tasks import application
from tests import warm
from tests.at_work import url_in, wait_for
from tests.helpers import ROOT, Server, free_port, running, wait_until
from tests.values import circular, deep

task_module = sys.modules["afterword.tasks.registry"]  # `afterword.task` is the decorator

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the tasks that ran, and the warnings that were given."""
    ran.clear()
    monkeypatch.setattr(telemetry, "_warned", set())


# ---------------------------------------------------------------------- an application to misuse


@dataclass
class Case:
    """A call in a route."""

    func: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None


class Misused:
    """An application whose route makes the call of the case, and keeps the answer of `add_task`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.app = FastAPI()
        self.afterword = Afterword(self.app, url_in(folder), **options)
        self.case = Case(note)
        self.job: Job[Any] | None = None
        self.error: Exception | None = None
        self.app.post("/")(self._add)

    async def _add(self, background_tasks: BackgroundTasks) -> None:
        self.job = self.error = None
        try:
            kwargs = self.case.kwargs or {}
            self.job = background_tasks.add_task(self.case.func, *self.case.args, **kwargs)
        except Exception as error:
            self.error = error

    def jobs(self) -> list[JobRecord]:
        """Return the jobs in the store."""
        return list(self.afterword.runtime.store.find(limit=100_000))

    def wait_ended(self, count: int = 1) -> None:
        """Wait until this number of jobs has ended."""
        wait_until(lambda: self._ended() == count, description=f"{count} jobs have ended")

    def _ended(self) -> int:
        counts = self.afterword.runtime.store.count()
        return sum(number for state, number in counts.items() if state.final)

    def add(self, case: Case) -> None:
        """Make the call in a request."""
        self.case = case
        assert self.client.post("/").status_code == 200

    @property
    def client(self) -> TestClient:
        """The client, while the application is served."""
        return self._client

    @contextmanager
    def served(self) -> Iterator["Misused"]:
        """Serve the application with its lifespan."""
        with TestClient(self.app) as self._client:
            yield self


def warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in log.records if each.levelno == logging.WARNING]


def note(*values: Any) -> None:
    """A task of this application that takes anything JSON has."""
    ran.append(values)


async def note_async(*values: Any) -> None:
    """Note the value, in the event loop."""
    ran.append(values)


def note_named(**values: Any) -> None:
    """Note the value, passed by name."""
    ran.append(values)


# ---------------------------------------------------------------------- it runs in the request


class Service:
    """An object that exists in one process only."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def note(self) -> None:
        """A bound method of it is a call that no other process could make."""
        ran.append(self)

    def __call__(self) -> None:
        """Be callable, but not a function."""
        ran.append(self)


@dataclass
class User:
    """An object that cannot be stored."""

    session: Any


class Color(enum.Enum):
    """A type that is not JSON."""

    RED = "red"


class Shade(enum.StrEnum):
    """A type that JSON would turn into plain text."""

    DARK = "dark"


def nested() -> Callable[[], None]:
    def inner() -> None:
        ran.append("inner")

    return inner


def take_service(service: Service) -> None:
    ran.append(service)


def take_session(session: Session) -> None:
    ran.append(session)


def take_request(request: Request) -> None:
    ran.append(request)


def take_user(user: User) -> None:
    ran.append(user)


def take_numbers(numbers: Iterable[int]) -> None:
    ran.append(list(numbers))


class EvilKey:
    """A key whose text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __format__(self, _: str) -> str:
        raise RuntimeError("no text")


class EvilEquality:
    """An object whose comparison raises."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> bool:
        raise RuntimeError("no comparison")


def in_memory(name: str, path: str, func: Any, *args: Any, **kwargs: Any) -> Any:
    return pytest.param(Case(func, args, kwargs), path, id=name)


IN_MEMORY = [
    in_memory("lambda", "lambda", lambda: ran.append(1)),
    in_memory("nested-function", "nested", nested()),
    in_memory("partial", "functools.partial", functools.partial(note, 1)),
    in_memory("bound-method", "Service", Service().note),
    in_memory("callable-instance", "Service", Service()),
    in_memory("builtin-method", "append", ran.append, 1),
    in_memory("open-file", "'*values.0'", note, io.StringIO("x")),
    in_memory("lock", "'*values.0'", note, threading.Lock()),
    in_memory("socket", "'*values.0'", note, socket.socket),
    in_memory("session", "'session'", take_session, Session(create_engine("sqlite://"))),
    in_memory("service", "'service'", take_service, Service()),
    in_memory("request", "'request'", take_request, Request({"type": "http"})),
    in_memory("model-holding-a-lock", "'user'", take_user, User(threading.Lock())),
    in_memory("path", "'**values.user.session'", note_named, user={"session": object()}),
    in_memory("equality-raises", "'*values.0'", note, EvilEquality()),
    in_memory("generator", "'numbers'", take_numbers, iter([1, 2, 3])),
    in_memory("key-without-text", "'*values.0", note, {EvilKey(): 1}),
    in_memory("enum-without-annotation", "'*values.0'", note, Color.RED),
    in_memory("text-enum-without-annotation", "'*values'", note, Shade.DARK),
    in_memory("bytes-without-annotation", "'*values.0'", note, b"x"),
    in_memory("subclass", "'*values'", note, collections.OrderedDict(a=1)),
    in_memory("tuple-without-annotation", "'*values.0'", note, (1, 2)),
    in_memory("int-keys-without-annotation", "'*values.0.1", note, {1: "one"}),
]


@pytest.mark.parametrize(("case", "said"), IN_MEMORY)
def test_what_cannot_be_stored_runs_in_its_request_with_one_warning(
    case: Case, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Misused(tmp_path).served() as app:
        app.add(case)
        app.add(case)
        jobs = app.jobs()

    warnings = warnings_in(caplog)
    assert 1 == len(warnings)
    assert said.strip("'").partition(".")[0] in warnings[0]  # keys on the path are not logged
    assert 2 == len(ran)
    assert [] == jobs
    assert app.error is None


@pytest.mark.parametrize(("case", "said"), IN_MEMORY)
def test_strict_refuses_what_cannot_be_stored(case: Case, said: str, tmp_path: Path) -> None:
    with Misused(tmp_path, strict=True).served() as app:
        app.add(case)
        jobs = app.jobs()

    assert type(app.error) is NotStorable
    assert said in str(app.error)
    assert [] == jobs
    assert [] == ran


def test_a_generator_that_could_not_be_stored_still_has_all_its_values(tmp_path: Path) -> None:
    with Misused(tmp_path).served() as app:
        app.add(Case(take_numbers, (iter([1, 2, 3]),)))

    assert [[1, 2, 3]] == ran


def test_a_function_of_the_standard_library_runs_in_its_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "from").write_text("text")
    with Misused(tmp_path).served() as app:
        app.add(Case(shutil.copyfile, (str(tmp_path / "from"), str(tmp_path / "to"))))
        jobs = app.jobs()

    assert "text" == (tmp_path / "to").read_text()
    assert [] == jobs
    assert "afterword.task(shutil.copyfile)" in warnings_in(caplog)[0]


@pytest.mark.parametrize(
    "func",
    [
        pytest.param(shutil.copyfile, id="stdlib-function"),
        pytest.param(operator.add, id="builtin-function"),
        pytest.param(httpx.get, id="function-of-a-package"),
        pytest.param(Path.touch, id="method-of-the-stdlib"),
    ],
)
def test_strict_refuses_functions_of_others(func: Any, tmp_path: Path) -> None:
    with Misused(tmp_path, strict=True).served() as app:
        app.add(Case(func, ("a", "b")))

    assert type(app.error) is NotStorable


@pytest.mark.parametrize("func", [note, note_async], ids=["def", "async-def"])
def test_a_plain_function_of_the_application_is_stored(func: Any, tmp_path: Path) -> None:
    with Misused(tmp_path, strict=True).served() as app:
        app.add(Case(func, ("a", 1)))
        app.wait_ended()
        jobs = app.jobs()

    assert [("a", 1)] == ran
    assert [(f"{__name__}:{func.__name__}", JobState.COMPLETED)] == [
        (job.task, job.state) for job in jobs
    ]


# ---------------------------------------------------------------------- it is refused


class EvilText(str):
    """An object whose text raises."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Document(BaseModel):
    """A model for annotations."""

    text: Any


@dataclass
class Page:
    """A dataclass for annotations."""

    text: Any


def take_document(document: Document) -> None:
    ran.append(document)


def take_page(page: Page) -> None:
    ran.append(page)


def take_number(number: int) -> None:
    ran.append(number)


def take_upload(upload: UploadFile) -> None:
    ran.append(upload)


def generate() -> Iterator[int]:
    ran.append("generated")
    yield 1


async def generate_async() -> AsyncIterator[int]:
    ran.append("generated")
    yield 1


def started_coroutine() -> Coroutine[Any, Any, None]:
    return note_async(1)


class Awaitable:
    """An object that can be awaited."""

    def __await__(self) -> Iterator[Any]:
        return iter(())


GIGABYTE = ["x" * 2**20] * 1100  # one megabyte, eleven hundred times the same


def refused(name: str, error: type[Exception], said: str, func: Any, *args: Any) -> Any:
    return pytest.param(
        lambda: Case(func() if said == CALLED else func, args), error, said, id=name
    )


CALLED = "add_task(note_async, x)  # correct!"

REFUSED = [
    refused("coroutine-object", TypeError, CALLED, started_coroutine),
    refused("generator-object", TypeError, "this is a generator", generate()),
    refused("async-generator-object", TypeError, "async_generator", generate_async()),
    refused("awaitable", TypeError, "this is a Awaitable", Awaitable()),
    refused("result", TypeError, "this is a NoneType. Pass the function", None),
    refused("upload", ArgumentError, "write_bytes(", take_upload, UploadFile(io.BytesIO())),
    refused("upload-unannotated", ArgumentError, "add_task(", note, UploadFile(io.BytesIO())),
    refused("nan", ArgumentValueError, "no nan, but the argument '*values.0'", note, float("nan")),
    refused("infinity", ArgumentValueError, "JSON has no inf", note, [float("inf")]),
    refused("minus-infinity", ArgumentValueError, "JSON has no -inf", note, float("-inf")),
    refused("nan-in-a-model", ArgumentValueError, "'page.text'", take_page, Page(float("nan"))),
    refused("5000-digits", ArgumentValueError, "'number'", take_number, 10**5000),
    refused("minus-5000-digits", ArgumentValueError, "'*values.0.a'", note, {"a": -(10**5000)}),
    refused("surrogate", ArgumentValueError, "'*values.0'", note, "\ud800"),
    refused("surrogate-inside", ArgumentValueError, "'*values.0.a.1'", note, {"a": [1, "\udfff"]}),
    refused("surrogate-as-key", ArgumentValueError, "a key of *values.0", note, {"\ud800": 1}),
    refused("surrogate-in-a-model", ArgumentValueError, "'page.text'", take_page, Page("\ud800")),
    refused("200000-levels", ArgumentValueError, "64 levels", note, deep(200_000)),
    refused("65-levels", ArgumentValueError, "64 levels", note, deep(64)),
    refused("deep-model", ArgumentValueError, "64 levels", take_document, Document(text=deep(99))),
    refused("circular", ArgumentValueError, "contains itself", note, circular()),
    refused("17-256-KiB-and-1", PayloadTooLarge, "262,144 bytes", note, "x" * (256 * 1024 + 1)),
    refused("17-256-KiB-with-quotes", PayloadTooLarge, "bytes", note, "x" * (256 * 1024 - 5)),
    refused("escaped", PayloadTooLarge, "bytes", note, "\0" * (256 * 1024 // 2)),
    refused("17-10-MiB", PayloadTooLarge, "'*values.0'", note, "x" * 10 * 2**20),
    refused("17-1.1-GB", PayloadTooLarge, "'*values.0.0'", note, GIGABYTE),
    refused("17-1.1-GB-in-a-model", PayloadTooLarge, "", take_document, Document(text=GIGABYTE)),
    refused("10-million-numbers", PayloadTooLarge, "", note, [0] * 10_000_000),
    refused(
        "text-that-cannot-be-shown", ArgumentError, "the type EvilText", take_number, EvilText()
    ),
    refused("generator-function", TypeError, "without yield", generate),
    refused("async-generator-function", TypeError, "without yield", generate_async),
    refused("missing-argument", ArgumentError, "missing a required argument", take_number),
    refused("wrong-type", ArgumentError, "number of the type str", take_number, "1"),
]


@pytest.mark.parametrize(("make", "error", "said"), REFUSED)
def test_what_is_wrong_raises_in_the_route(
    make: Callable[[], Case], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with Misused(tmp_path).served() as app:
        began = time.monotonic()
        app.add(make())
        seconds = time.monotonic() - began
        jobs = app.jobs()

    assert isinstance(app.error, error)
    assert said in str(app.error)
    assert len(str(app.error)) < 1_000
    assert [] == jobs
    assert [] == ran
    assert seconds < 30


def test_100000_keywords_are_too_many(tmp_path: Path) -> None:
    with Misused(tmp_path).served() as app:
        app.add(Case(note_named, (), {f"key{number}": number for number in range(100_000)}))

    assert type(app.error) is PayloadTooLarge


# ---------------------------------------------------------------------- it is stored all the same

STORED = [
    pytest.param(2**53 + 1, id="beyond-the-integers-of-javascript"),
    pytest.param(2**63, id="beyond-64-bits"),
    pytest.param(10**4299, id="4300-digits"),
    pytest.param("a\0b", id="nul"),
    pytest.param("", id="empty"),
    pytest.param("\x1b[31mred\x1b[0m", id="escapes"),
    pytest.param("'; DROP TABLE afterword_jobs; --", id="sql"),
    pytest.param("\N{PILE OF POO} \u202e", id="emoji"),
    pytest.param(deep(62), id="64-levels"),
    pytest.param("x" * (256 * 1024 - 20), id="nearly-256-KiB"),
    pytest.param(-0.0, id="minus-zero"),
    pytest.param({"": [None, True, 1.5, {"a": {}}]}, id="json"),
]


@pytest.mark.parametrize("value", STORED)
def test_odd_values_come_to_the_task_as_they_were(value: Any, tmp_path: Path) -> None:
    with Misused(tmp_path, strict=True).served() as app:
        app.add(Case(note, (value,)))
        app.wait_ended()
        job = app.jobs()[0]

    assert [(value,)] == ran
    assert str(value) == str(ran[0][0])
    assert JobState.COMPLETED == job.state
    assert {"*values": [value]} == json.loads(job.arguments)


def test_text_that_cannot_be_shown_is_stored_as_text(tmp_path: Path) -> None:
    with Misused(tmp_path).served() as app:
        app.add(Case(take_text, (EvilText("text"),)))
        app.wait_ended()

    assert ["text"] == ran


def take_text(text: str) -> None:
    ran.append(text)


# ---------------------------------------------------------------------- many


async def arrive(number: int) -> None:
    ran.append(number)


@pytest.mark.parametrize(
    ("order", "awaited"),
    [
        pytest.param("concurrent", 1_000, id="concurrent"),
        pytest.param("sequential", 200, id="sequential"),
    ],
)
def test_10000_tasks_of_one_request_are_stored_at_once_and_run(
    order: Order, awaited: int, tmp_path: Path
) -> None:
    app = FastAPI()
    afterword = Afterword(app, url_in(tmp_path), order=order, store_timeout=60.0)

    @app.post("/")
    async def add(background_tasks: BackgroundTasks) -> None:
        for number in range(10_000):
            background_tasks.add_task(arrive, number)

    with TestClient(app) as client:
        counts = counted_at_commits(afterword)
        client.post("/")
        wait_until(lambda: len(ran) >= awaited, description="the tasks have run", timeout=60)

    assert 10_000 == next(filter(None, counts))
    if order == "sequential":
        assert list(range(awaited)) == ran[:awaited]
    assert len(set(ran)) == len(ran)


def counted_at_commits(afterword: Afterword) -> list[int]:
    """Return the number of jobs at each of the store's commits, until there are some."""
    store: Any = afterword.runtime.store
    counts: list[int] = []
    commit = store._writer.commit

    def count_then_commit() -> None:
        if not any(counts):
            stored = "SELECT count(*) FROM afterword_jobs"
            counts.append(store._writer.connection.execute(stored).fetchone()[0])
        commit()

    store._writer.commit = count_then_commit
    return counts


# ---------------------------------------------------------------------- names


def test_two_registered_functions_of_one_name_refuse_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "_registered", {})
    monkeypatch.setattr(task_module, "_duplicates", {})

    def first() -> None: ...

    def second() -> None: ...

    for function in (first, second):
        function.__qualname__ = "send"
        task(function)

    twice = f"'{re.escape(__name__)}:send' is defined twice"
    with pytest.raises(DuplicateTask, match=twice), TestClient(Misused(tmp_path).app):
        pytest.fail("it must not start")


def test_an_earlier_definition_of_a_name_is_not_stored(tmp_path: Path) -> None:
    def earlier() -> None:
        ran.append("earlier")

    earlier.__qualname__ = "note"
    with Misused(tmp_path, strict=True).served() as app:
        app.add(Case(earlier))

    assert "must be found in its module under its name" in str(app.error)


MAIN = """
import os
import re
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app, "sqlite:///jobs.db")


def work(name: str) -> None:
    if not Path("go").exists():
        os._exit(9)
    Path("doing").write_text(name + " " + __name__)
    Path("doing").rename("done")  # readers see the whole file or none


@app.post("/")
async def add(background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(work, "job")


if __name__ == "__main__":
    {run}
"""

RUNS = [
    pytest.param(["main.py"], "uvicorn.run(app, port=int(sys.argv[1]))", id="script"),
    pytest.param(["-m", "main"], "uvicorn.run(app, port=int(sys.argv[1]))", id="module"),
    pytest.param(["main.py"], "uvicorn.run('main:app', port=int(sys.argv[1]))", id="by-name"),
]


@pytest.mark.parametrize(("arguments", "run"), RUNS)
def test_a_job_of_main_is_found_by_the_next_process(
    arguments: list[str], run: str, tmp_path: Path
) -> None:
    """The first process dies in the task; the second one starts under the module's own name."""
    (tmp_path / "main.py").write_text(MAIN.replace("{run}", run))
    port = free_port()
    first = warm.Popen([sys.executable, *arguments, str(port)], cwd=tmp_path)
    try:
        with contextlib.suppress(httpx.TransportError):
            wait_until(lambda: answers(port), description="main.py answers")
        assert 9 == first.wait(60)
    finally:
        first.kill()
        first.wait()

    (tmp_path / "go").touch()
    with running(Server("main:app", tmp_path)):
        wait_until((tmp_path / "done").exists, description="the job has run in a new process")

    assert "job main" == (tmp_path / "done").read_text()


def answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/").status_code == 200
    except httpx.ConnectError:
        return False


def test_a_function_of_a_reloaded_module_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("reloaded_tasks")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = f"from {__name__} import ran\ndef work():\n    ran.append({{0!r}})\n"
    exec(source.format("old"), module.__dict__)
    old = module.__dict__["work"]
    exec(source.format("new"), module.__dict__)
    monkeypatch.setattr(application, "_packages", {"tests"})
    with Misused(tmp_path, strict=True, tasks=[module]).served() as app:
        app.add(Case(old))
        assert "reloaded" in str(app.error)
        app.add(Case(module.__dict__["work"]))
        app.wait_ended()

    assert ["new"] == ran


# ---------------------------------------------------------------------- add_task, wherever it is


class Everywhere:
    """An application that adds jobs in unusual places."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.app = FastAPI(lifespan=self._lifespan)
        self.afterword = Afterword(self.app, url_in(folder), **options)
        self.kept: list[Any] = []
        self.app.get("/keep")(self._keep)
        self.app.get("/sync")(self._sync)
        self.app.get("/thread")(self._thread)
        self.app.get("/nested")(self._nested)
        self.app.get("/stream")(self._stream)
        self.app.websocket("/socket")(self._socket)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        await self.afterword.add_task(note, "start-up")
        yield
        await self.afterword.add_task(note, "shutdown")

    async def _keep(self, background_tasks: BackgroundTasks) -> None:
        self.kept.append(background_tasks)

    def _sync(self, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "injected")
        self.afterword.add_task_sync(note, "blocking")

    async def _thread(self, background_tasks: BackgroundTasks) -> None:
        await asyncio.to_thread(background_tasks.add_task, note, "injected")
        await asyncio.to_thread(self.afterword.add_task_sync, note, "blocking")

    async def _nested(self, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(add_another, "parent")
        everywhere.append(self.afterword)

    async def _stream(self, background_tasks: BackgroundTasks) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "a"
            background_tasks.add_task(note, "in the stream")
            yield "b"

        return StreamingResponse(body())

    async def _socket(self, socket: WebSocket, background_tasks: BackgroundTasks) -> None:
        await socket.accept()
        background_tasks.add_task(note, "injected")
        await self.afterword.add_task(note, "at once")
        await wait_for(lambda: ran, description="the job has run")
        await socket.send_json(list(ran))
        await socket.close()

    def ran_in(self, path: str, count: int) -> list[Any]:
        with TestClient(self.app) as client:
            started()
            client.get(path)
            wait_until(lambda: len(ran) == count, description=f"{count} tasks have run")
            return sorted(ran)


everywhere: list[Afterword] = []


def started() -> None:
    """Wait for the job of the lifespan, and forget it."""
    wait_until(lambda: ("start-up",) in ran, description="the job of the lifespan has run")
    ran.clear()


async def add_another(name: str) -> None:
    """Add another task."""
    ran.append((name,))
    await everywhere.pop().add_task(note, "child")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/sync", [("blocking",), ("injected",)], id="sync-endpoint"),
        pytest.param("/thread", [("blocking",), ("injected",)], id="another-thread"),
        pytest.param("/stream", [("in the stream",)], id="while-the-body-is-sent"),
        pytest.param("/nested", [("child",), ("parent",)], id="task-of-a-task"),
    ],
)
def test_a_job_can_be_added(path: str, expected: list[Any], tmp_path: Path) -> None:
    assert expected == Everywhere(tmp_path).ran_in(path, len(expected))


def test_a_job_can_be_added_in_the_lifespan(tmp_path: Path) -> None:
    """At start-up the worker runs it later; at shutdown the next start does."""
    with TestClient(Everywhere(tmp_path).app):
        started()

    assert [] == ran
    with TestClient(Everywhere(tmp_path).app):
        wait_until(lambda: ("shutdown",) in ran, description="the job of the shutdown has run")


def test_a_job_can_be_added_after_the_request(tmp_path: Path) -> None:
    app = Everywhere(tmp_path)
    with TestClient(app.app) as client:
        started()
        client.get("/keep")
        job = app.kept[0].add_task(note, "late")
        stored = app.afterword.runtime.store.get([job.id])
        wait_until(lambda: ran, description="the late job has run")

    assert 1 == len(stored)
    assert [("late",)] == ran


def test_after_the_request_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    app = Everywhere(tmp_path)
    with TestClient(app.app) as client:
        client.get("/keep")
        with pytest.raises(NotStorable, match="at the top of a module"):
            app.kept[0].add_task(lambda: None)


def test_a_job_can_be_added_outside_of_a_request(tmp_path: Path) -> None:
    app = Everywhere(tmp_path)
    with TestClient(app.app):
        started()
        app.afterword.add_task_sync(note, "outside")
        wait_until(lambda: ran, description="the job has run")

    with pytest.raises(NotStorable, match="lambda"):
        app.afterword.add_task_sync(lambda: None)
    assert [("outside",)] == ran


def test_a_job_can_be_added_in_a_websocket(tmp_path: Path) -> None:
    """Injected tasks run when the connection has ended; `Afterword.add_task` does not wait."""
    with TestClient(Everywhere(tmp_path).app) as client:
        started()
        with client.websocket_connect("/socket") as connection:
            during = connection.receive_json()
        wait_until(lambda: len(ran) == 2, description="both have run")

    assert [["at once"]] == during
    assert [("at once",), ("injected",)] == ran


# ---------------------------------------------------------------------- responses


class Answers:
    """Routes with unusual answers."""

    def __init__(self, folder: Path) -> None:
        self.app = FastAPI()
        self.afterword = Afterword(self.app, url_in(folder))
        self.stored: list[int] = []
        self.file = folder / "file"
        self.file.write_text("text")
        self.app.api_route("/{kind}", methods=["GET", "HEAD", "OPTIONS"])(self._answer)
        mounted = FastAPI()
        mounted.get("/{kind}")(self._answer)
        self.app.mount("/mounted", mounted)
        self.app.get("/raises/late", dependencies=[Depends(adds), Depends(raises)])(self._never)

    def jobs(self) -> int:
        """Return the number of jobs in the store."""
        return len(self.afterword.runtime.store.find())

    async def _never(self) -> None:
        raise AssertionError("a dependency has raised")

    async def _answer(self, kind: str, background_tasks: BackgroundTasks) -> Response:
        background_tasks.add_task(note, kind)
        singular = BackgroundTask(note, "singular")
        kinds: dict[str, Callable[[], Response]] = {
            "own": lambda: JSONResponse({}, background=singular),
            "plain": lambda: JSONResponse({}),
            "204": lambda: Response(status_code=204),
            "304": lambda: Response(status_code=304),
            "400": lambda: JSONResponse({}, 400),
            "stream": lambda: StreamingResponse(iter(["a", "b"])),
            "file": lambda: FileResponse(self.file),
        }
        return kinds[kind]()


async def adds(background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(note, "of a dependency")


async def raises() -> None:
    raise HTTPException(418)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        pytest.param("GET", "/own", [("own",), ("singular",)], id="own-response"),
        pytest.param("GET", "/plain", [("plain",)], id="background-task-that-nobody-used"),
        pytest.param("HEAD", "/plain", [("plain",)], id="head"),
        pytest.param("OPTIONS", "/plain", [("plain",)], id="options"),
        pytest.param("GET", "/204", [("204",)], id="204"),
        pytest.param("GET", "/304", [("304",)], id="304"),
        pytest.param("GET", "/400", [("400",)], id="400-returned"),
        pytest.param("GET", "/stream", [("stream",)], id="stream"),
        pytest.param("GET", "/file", [("file",)], id="file"),
        pytest.param("GET", "/mounted/plain", [("plain",)], id="mounted"),
        pytest.param("GET", "/raises/late", [], id="a-later-dependency-raises"),
    ],
)
def test_jobs_are_stored_before_the_first_byte(
    method: str, path: str, expected: list[Any], tmp_path: Path
) -> None:
    answers = Answers(tmp_path)
    at_first_byte: list[int] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def send_watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                at_first_byte.append(answers.jobs())
            await send(message)

        await answers.app(scope, receive, send_watched)

    with TestClient(watched) as client:
        client.request(method, path)
        wait_until(lambda: len(ran) >= len(expected), description="the tasks have run")
        wait_until(lambda: answers.jobs() == len(expected), description="no other job is kept")

    assert expected == ran
    # A task that is on no response is stored, held, until the request is over.
    assert [len(expected) if path in ("/own", "/raises/late") else 2] == at_first_byte


# ---------------------------------------------------------------------- where the store is


def directory(folder: Path) -> str:
    (folder / "jobs.db").mkdir()
    return f"sqlite:///{folder}/jobs.db"


def symbolic_link_to_a_directory(folder: Path) -> str:
    (folder / "jobs.db").symlink_to(folder, target_is_directory=True)
    return f"sqlite:///{folder}/jobs.db"


def another_database(folder: Path) -> str:
    with contextlib.closing(apsw.Connection(str(folder / "app.db"))) as connection:
        connection.execute("CREATE TABLE users (id INTEGER)")
    return f"sqlite:///{folder}/app.db"


def no_database(folder: Path) -> str:
    (folder / "jobs.db").write_bytes(b"no database" * 1000)
    return f"sqlite:///{folder}/jobs.db"


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        pytest.param(lambda _: "sqlite://", ConfigurationError, "in memory", id="nothing"),
        pytest.param(lambda _: "sqlite:///:memory:", ConfigurationError, "in memory", id="memory"),
        pytest.param(lambda _: "sqlite:///file:a?mode=ro", ConfigurationError, "file:", id="uri"),
        pytest.param(lambda _: "sqlite:///a.db?x=1", ConfigurationError, "options", id="options"),
        pytest.param(lambda _: "sqlite://host/a.db", ConfigurationError, "host", id="host"),
        pytest.param(lambda _: "sqlite:////", ConfigurationError, "and a path", id="no-file"),
        pytest.param(
            lambda _: "jobs.db", ConfigurationError, "starts with sqlite://", id="no-scheme"
        ),
        pytest.param(lambda _: "mysql://a/b", ConfigurationError, "'mysql://...'", id="scheme"),
        pytest.param(directory, ConfigurationError, "is a directory", id="directory"),
        pytest.param(
            symbolic_link_to_a_directory, ConfigurationError, "is a directory", id="symlink"
        ),
        pytest.param(
            lambda folder: f"sqlite:///{folder}/none/jobs.db",
            ConfigurationError,
            "does not exist",
            id="no-directory",
        ),
        pytest.param(lambda _: "sqlite:////proc/a.db", AfterwordError, "/proc/a.db", id="no-right"),
        pytest.param(another_database, StoreCorrupt, "holds other tables", id="own-database"),
        pytest.param(no_database, StoreCorrupt, "damaged or not a SQLite", id="no-database"),
    ],
)
def test_a_place_that_cannot_be_a_store_is_refused(
    place: Callable[[Path], str], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as refusal, TestClient(with_store_at(place(tmp_path))):
        pytest.fail("it must not start")

    assert said in str(refusal.value)


def with_store_at(url: str) -> FastAPI:
    app = FastAPI()
    Afterword(app, url)
    return app


def test_a_symbolic_link_leads_to_one_store(tmp_path: Path) -> None:
    """Both names share the files beside the database, and so the workers' locks."""
    (tmp_path / "link.db").symlink_to(tmp_path / "jobs.db")
    afterword = Afterword(url=f"sqlite:///{tmp_path / 'link.db'}")

    assert Afterword(url=url_in(tmp_path)).url == afterword.runtime.store.url


# ---------------------------------------------------------------------- logging


class RaisingFilter(logging.Filter):
    """A log filter that raises."""

    def filter(self, _: logging.LogRecord) -> bool:
        raise RuntimeError("no log today")


def note_then_fail(name: str) -> None:
    ran.append((name,))
    raise ValueError(name)


def test_a_logger_that_raises_does_not_touch_the_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more failures than slots, so each must free its slot."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    broken = RaisingFilter()
    telemetry.logger.addFilter(broken)
    try:
        with Misused(tmp_path, concurrency=2).served() as app:
            for number in range(5):
                app.add(Case(note_then_fail, (f"{number}",)))
                app.wait_ended(number + 1)
            jobs = app.jobs()
    finally:
        telemetry.logger.removeFilter(broken)

    assert [JobState.FAILED] * 5 == [job.state for job in jobs]


def test_tasks_run_without_any_log_configuration(tmp_path: Path) -> None:
    program = f"""
import logging, sys
from {__name__} import *
with Misused(Path({str(tmp_path)!r})).served() as app:
    app.add(Case(note_then_fail, ("x",)))
    app.wait_ended()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = warm.run(command, env=environment, capture_output=True, check=True)

    assert "raise ValueError(name)\n    ValueError: x\n" in done.stderr
