"""Secrets: passed in wherever a value can be given, and searched for in all output.

`afterword show`, `jobs --json` and `export` show arguments and results to people who may read the
store; nothing else does. Errors of tasks go through `redact`. The error of a user's validator for a
call is raised to the caller unchanged, and not logged.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import apsw
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import AfterValidator, BaseModel, PlainSerializer

from afterword import Afterword, JobState, Retry, task, telemetry
from afterword.errors import ConfigurationError
from afterword.fastapi import BackgroundTasks
from afterword.store.opening import open_store
from tests.command_line import Shell
from tests.helpers import wait_until

SECRET = "s3cret"


def without_secret(text: str) -> str:
    return text.replace(SECRET, "***")


class Client:
    """A service whose repr contains all its values."""

    def __init__(self) -> None:
        self.password = SECRET

    def __repr__(self) -> str:
        return f"Client({self.password!r})"

    def send(self, *args: object) -> None: ...

    def __call__(self, *args: object) -> None: ...


def refuse(value: str) -> str:
    raise ValueError(f"{value} is not allowed")


class Model(BaseModel):
    """A validator whose error quotes the refused value."""

    text: Annotated[str, AfterValidator(refuse)]


Refused = Annotated[str, AfterValidator(refuse)]
Unwritable = Annotated[str, PlainSerializer(refuse)]


def take(*args: Any, **kwargs: Any) -> None: ...


def take_number(number: int) -> None: ...


def take_refused(text: Refused) -> None: ...


def take_unwritable(text: Unwritable) -> None: ...


@task(limit=1, key=lambda text: [text])
def take_key(text: str) -> None: ...


def raise_it(text: str) -> None:
    raise ValueError(f"{text} is wrong")


async def raise_async(text: str) -> None:
    raise_it(text)


@task(retries=1, backoff=0.01)
def raise_again(text: str) -> None:
    raise Retry(f"{text} again") if text else ValueError


@task(executor="process")
def raise_in_process(text: str) -> None:
    raise_it(text)


def return_object(text: str) -> Any:
    return Client()


def return_wrong(text: str) -> int:
    return text  # type: ignore[return-value]


def return_unwritable(text: str) -> Unwritable:
    return text


def return_nan(text: str) -> Any:
    return {"inner": float("nan"), "text": text}


def return_model(text: str) -> Model:
    return Model.model_construct(text=[text])


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "wrong-type": (take_number, (SECRET,)),
    "too-many": (take_number, (1, SECRET)),
    "a-serializer-refuses": (take_unwritable, (SECRET,)),
    "service": (take, (Client(),)),
    "service-inside": (take, ({"user": [Client()]},)),
    "tuple": (take, ((SECRET,),)),
    "set": (take, ({SECRET},)),
    "iterator": (take, (iter([SECRET]),)),
    "bytes-that-are-no-text": (take, (b"\xff" + SECRET.encode(),)),
    "nan": (take, ({"inner": [SECRET, float("nan")]},)),
    "surrogate": (take, (SECRET + "\ud800",)),
    "large": (take, (SECRET * 100_000,)),
    "method": (Client().send, (SECRET,)),
    "object": (Client(), (SECRET,)),
    "partial": (functools.partial(take, SECRET), ()),
    "lambda": (lambda text: raise_it(f"{text}!"), (SECRET,)),
    "key": (take_key, (SECRET,)),
    "raises": (raise_it, (SECRET,)),
    "raises-async": (raise_async, (SECRET,)),
    "raises-retry": (raise_again, (SECRET,)),
    "raises-in-a-process": (raise_in_process, (SECRET,)),
    "returns-an-object": (return_object, (SECRET,)),
    "returns-another-type": (return_wrong, (SECRET,)),
    "returns-what-its-serializer-refuses": (return_unwritable, (SECRET,)),
    "returns-nan": (return_nan, (SECRET,)),
    "returns-a-wrong-model": (return_model, (SECRET,)),
}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The log; warnings that are given once are given again."""
    monkeypatch.setattr(telemetry, "_warned", set())
    with caplog.at_level(logging.DEBUG, "afterword"):
        yield caplog


@pytest.mark.parametrize("shell", ["sqlite"], indirect=True)
@pytest.mark.parametrize("strict", [False, True])
def test_no_line_message_command_or_answer_quotes_a_value(
    shell: Shell, log: pytest.LogCaptureFixture, strict: bool
) -> None:
    """The calls share an application and a store, because the commands take time."""
    app, said = FastAPI(), list[tuple[str, str]]()
    afterword = Afterword(app, shell.url, redact=without_secret, strict=strict)
    app.include_router(afterword.jobs_router(authorize=lambda: True, show_errors="full"))

    @app.post("/{case}")
    def add(case: str, background_tasks: BackgroundTasks) -> None:
        func, args = CALLS[case]
        try:
            background_tasks.add_task(func, *args)
        except Exception as error:
            said.append((case, str(error)))

    with TestClient(app, raise_server_exceptions=False) as client:
        for case in CALLS:
            client.post(f"/{case}")
        wait_until(
            lambda: all(each.state.final for each in shell.store.find()),
            description="all jobs have ended",
        )
        for job in shell.store.find():
            assert isinstance(job.state, JobState)
            texts = [client.get(f"/jobs/{job.id}").text, repr(job.error)]
            texts += [repr(each.error) for each in shell.store.attempts(job.id)]
            said += [(job.task, text) for text in texts]
        said += [("a command", text) for text in outputs(shell)]
    said += [("the log", line) for line in log.text.splitlines()]

    assert [] == [each for each in said if SECRET in each[1]]


def outputs(shell: Shell) -> list[str]:
    """Return the output of the commands that do not show arguments."""
    commands = [
        ["status"],
        ["jobs"],
        ["failures"],
        ["queues"],
        ["schedules"],
        ["workers"],
        ["tasks"],
        ["doctor"],
        ["doctor", "--json"],
        ["check"],
        ["db", "status"],
        ["status", "--json"],
        ["failures", "--json"],
    ]
    done = [shell.run(*each) for each in commands]
    return [text for each in done for text in (each.out, each.err)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("take_number", {"number": SECRET}), ("take_refused", {"text": SECRET}), ("gone", {})],
)
@pytest.mark.parametrize("shell", ["sqlite"], indirect=True)
def test_arguments_that_do_not_fit_any_more_are_not_quoted(
    name: str, arguments: dict[str, str], shell: Shell, log: pytest.LogCaptureFixture
) -> None:
    job = shell.add(f"{__name__}:{name}", arguments=json.dumps(arguments))
    app = FastAPI()
    Afterword(app, shell.url, redact=without_secret)
    with TestClient(app):
        wait_until(lambda: "put_back" in log.text, description="it has been put back")
        wait_until(lambda: shell.job(job).error, description="the reason is on record")
        said = [shell.job(job).error or "", *outputs(shell)]

    assert [] == [each for each in [*said, log.text] if SECRET in each]


def test_arguments_in_the_store_that_no_store_takes_are_not_quoted(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """The database's error for a row may quote the whole row."""
    store = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    with closing(store):
        store.open()
        with closing(apsw.Connection(str(tmp_path / "jobs.db"))) as connection:
            connection.execute(
                "CREATE TRIGGER no BEFORE INSERT ON afterword_jobs"
                " BEGIN SELECT raise(ABORT, 'it is full'); END"
            )
    app, said = FastAPI(), list[str]()
    afterword = Afterword(app, store.url)
    with TestClient(app):
        try:
            afterword.add_task_sync(take, SECRET)
        except Exception as error:
            said.append(str(error))

    assert said
    assert SECRET not in f"{said}{log.text}"


URLS = [
    "postgresql://me:{}@127.0.0.1:1/app",
    "postgresql://me:x@{}@127.0.0.1:1/app",
    "postgresql://me:x/{}@127.0.0.1:1/app",
    "postgresql://me:5/{}@127.0.0.1:1/app",
    "postgresql://me:x?{}@127.0.0.1:1/app",
    "postgresql://me:x%40{}@127.0.0.1:1/app",
    "postgresql://127.0.0.1:1/app?user=me&password={}",
    "postgresql://127.0.0.1:1/app?password=x@{}",
    "postgresql://me:a@b?{}@127.0.0.1:1/app",
    "postgresql+psycopg://me:{}@127.0.0.1:1/app?connect_timeout=1",
    "postgresql:me:{}@127.0.0.1",
    "host=127.0.0.1 port=1 password={}",
    "password={}://x",
    "{}",
    "mysql://me:{}@127.0.0.1/app",
    "sqlite:///jobs.db?key={}",
    "sqlite://me:{}@/jobs.db",
    "sqlite:///me:x@{}/jobs.db?mode=rw",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("shell", ["sqlite"], indirect=True)
def test_no_password_of_a_url_is_shown(
    url: str, monkeypatch: pytest.MonkeyPatch, shell: Shell, log: pytest.LogCaptureFixture
) -> None:
    shell.url = url.format(SECRET)
    said = []
    for command in (["doctor"], ["doctor", "--json"], ["check"], ["jobs"], ["db", "migrate"]):
        done = shell.run(*command)
        said += [done.out, done.err]
        assert 0 != done.code
    try:
        store = open_store(shell.url)
        said += [store.url, repr(store)]
    except ConfigurationError as error:
        said.append(str(error))
    (Path.cwd() / "pyproject.toml").write_text(f"[tool.afterword]\nurl = [{shell.url!r}]\n")
    shell.url = ""
    said.append(shell.run("jobs").err)

    assert [] == [each for each in [*said, log.text] if SECRET in each]


def test_what_is_shown_of_a_url_leads_to_the_store() -> None:
    url = f"postgresql://me:{SECRET}@db:5432/app?password={SECRET}"

    assert "postgresql://me@db:5432/app" == open_store(url).url
