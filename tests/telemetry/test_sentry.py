"""Sentry: its real SDK, with a transport that keeps the events."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from fastapi import BackgroundTasks as FastAPIBackgroundTasks
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sentry_sdk.crons import monitor
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from afterword import Afterword, current_task, task, telemetry
from afterword.fastapi import BackgroundTasks
from tests.helpers import wait_until

logger = logging.getLogger(__name__)
MONITOR: Any = {"schedule": {"type": "crontab", "value": "0 3 * * *"}}


class Kept(Transport):
    """A transport that keeps the events instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        for each in [event] if event is not None else [item.payload.json for item in envelope]:
            self.events.append(dict(each or {}))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The transport of a client that exists during this test only."""
    scope = sentry_sdk.get_global_scope()
    client, kept = scope.client, Kept()
    sentry_sdk.init("http://key@127.0.0.1:9/1", transport=kept)
    yield kept
    sentry_sdk.get_client().close(timeout=0)
    scope.set_client(client)


# ---------------------------------------------------------------------- tasks


def resize(path: str) -> None:
    """Raise in a thread."""
    sentry_sdk.set_tag("path", path)
    logger.warning("resizing")
    raise ValueError(f"no image: {path}")


async def mail(to: str) -> None:
    """Raise in the event loop."""
    sentry_sdk.set_tag("to", to)
    raise ConnectionError(f"no such host: {to}")


def secretly() -> None:
    """Raise an error with a secret."""
    raise ValueError("s3cret")


async def in_loop() -> AsyncIterator[int]:
    """Yield in the event loop."""
    yield 5


def with_dependency(number: int = Depends(in_loop)) -> None:
    """Raise in a thread, with a dependency of the event loop."""
    sentry_sdk.set_tag("number", number)
    raise ValueError("with a dependency")


@task(retries=1, backoff=[0])
def fail_twice() -> None:
    """Raise each time."""
    raise ValueError(f"attempt {current_task().attempt}")


@task(executor="process")
def fail_elsewhere() -> None:
    """Raise in a child process, which does not use Sentry."""
    raise ValueError("in a child")


def report() -> None:
    """Send an event."""
    sentry_sdk.capture_message("from the task")


@monitor(monitor_slug="nightly", monitor_config=MONITOR)
def checked_in() -> None:
    """Report the beginning and the end to a monitor, as on the page about Sentry."""
    assert "checked_in" in current_task().task


def site(url: str, **options: Any) -> TestClient:
    app = FastAPI()
    Afterword(app, url, **options)

    @app.post("/plain")
    def plain(background_tasks: FastAPIBackgroundTasks) -> None:
        background_tasks.add_task(resize, "a.png")

    @app.post("/{name}")
    def add(name: str, background_tasks: BackgroundTasks) -> None:
        tagged = background_tasks.options(tags=["nightly"])
        if name == "resize":
            tagged.add_task(resize, "a.png")
        elif name == "mail":
            tagged.add_task(mail, "ann")
        elif name == "unnamed":
            background_tasks.add_task(lambda: resize("b.png"))
        else:
            tagged.add_task(globals()[name])

    return TestClient(app, raise_server_exceptions=False)


def events(kept: Kept, url: str, *names: str, **options: Any) -> list[dict[str, Any]]:
    """Return the events of requests that add one task each."""
    with site(url, **options) as client:
        for at, name in enumerate(names, start=1):
            client.post(f"/{name}")
            wait_for_events(kept, at)
    return kept.events


def wait_for_events(kept: Kept, many: int) -> None:
    wait_until(lambda: len(kept.events) >= many, description=f"{many} events")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


# ---------------------------------------------------------------------- events


def test_a_durable_task_has_the_event_of_a_background_task(kept: Kept, url: str) -> None:
    """Exception, stack, breadcrumbs and tags are the same, and the job is added."""
    plain, durable = events(kept, url, "plain", "resize")
    [of_plain] = plain["exception"]["values"]
    [of_durable] = durable["exception"]["values"]
    frame, known = of_durable["stacktrace"]["frames"][-1], of_plain["stacktrace"]["frames"][-1]

    assert ("ValueError", "no image: a.png") == (of_durable["type"], of_durable["value"])
    assert (of_plain["type"], of_plain["value"]) == (of_durable["type"], of_durable["value"])
    assert (known["function"], known["lineno"]) == (frame["function"], frame["lineno"])
    assert frame["in_app"]
    assert 1 == len(of_durable["stacktrace"]["frames"])  # without Afterword's own frames
    assert "error" == durable["level"]
    assert "resizing" in [each["message"] for each in durable["breadcrumbs"]["values"]]
    assert "a.png" == durable["tags"]["path"]
    assert f"{__name__}:resize" == durable["transaction"]


def test_an_event_has_the_job(kept: Kept, url: str) -> None:
    [event] = events(kept, url, "resize")
    tags, extra = event["tags"], event["extra"]

    assert (f"{__name__}:resize", "default") == (extra["task"], extra["queue"])
    assert (1, ["nightly"]) == (extra["attempt"], list(extra["job_tags"]))
    assert f"{__name__}:resize" == tags["afterword.task"]
    assert ("default", "1", "nightly") == (
        tags["afterword.queue"],
        tags["afterword.attempt"],
        tags["afterword.tags"],
    )
    assert extra["job_id"] == tags["afterword.job_id"]


def test_what_differs_is_told_apart(kept: Kept, url: str) -> None:
    """Sentry groups by the exception, or by the template of the message."""
    first, second = events(kept, url, "resize", "mail")

    assert first["logentry"]["message"] != second["logentry"]["message"]
    assert {"path": "a.png"}.items() <= first["tags"].items()
    assert "path" not in second["tags"]
    assert {"to": "ann"}.items() <= second["tags"].items()


def test_the_same_has_one_template(kept: Kept, url: str) -> None:
    first, second = events(kept, url, "resize", "resize")

    assert first["logentry"]["message"] == second["logentry"]["message"]
    assert first["logentry"]["formatted"] != second["logentry"]["formatted"]


def test_a_thread_of_a_task_with_dependencies_has_its_scope(kept: Kept, url: str) -> None:
    [event] = events(kept, url, "with_dependency")

    assert 5 == event["tags"]["number"]


def test_only_the_last_failure_is_an_event(kept: Kept, url: str) -> None:
    """A retry is a warning, so at most a breadcrumb."""
    [event] = events(kept, url, "fail_twice")

    assert "attempt 2" == event["exception"]["values"][0]["value"]


def test_events_of_the_task_itself_have_the_job(kept: Kept, url: str) -> None:
    [event] = events(kept, url, "report")

    assert "from the task" == event["message"]
    assert f"{__name__}:report" == event["tags"]["afterword.task"]


def test_what_was_set_at_the_start_is_in_every_event(kept: Kept, url: str) -> None:
    """FastAPI's background tasks do the same; data of other attempts is not in it."""
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("service", "shop")
        plain, first, second = events(kept, url, "plain", "resize", "mail")

    assert ["shop"] * 3 == [each["tags"]["service"] for each in (plain, first, second)]
    assert "path" in first["tags"]
    assert "path" not in second["tags"]


def test_a_failure_in_a_child_process_has_its_exception(kept: Kept, url: str) -> None:
    """It is a stand-in, by which events are grouped, with the traceback as text."""
    [event] = events(kept, url, "fail_elsewhere")
    [exception] = event["exception"]["values"]

    assert "ValueError" == exception["type"]
    assert exception["value"].startswith("in a child\n")
    assert "in fail_elsewhere" in exception["value"]
    assert f"{__name__}:fail_elsewhere" == event["transaction"]
    assert f"{__name__}:fail_elsewhere" == event["tags"]["afterword.task"]
    assert "default" == event["tags"]["afterword.queue"]


def test_a_failure_without_an_attempt_here_has_its_job(kept: Kept) -> None:
    """An example is a job whose workers were lost too often."""
    telemetry.recovered("id", "m:f", 3, 3, "failed")
    [event] = kept.events
    sentry_sdk.capture_message("of nothing")

    assert "m:f" == event["transaction"]
    assert ("id", "m:f", "3") == tuple(
        event["tags"][f"afterword.{each}"] for each in ("job_id", "task", "attempt")
    )
    assert "afterword.task" not in kept.events[1].get("tags", {})


def test_what_runs_in_its_request_has_the_request(kept: Kept, url: str) -> None:
    [event] = events(kept, url, "unnamed")

    assert "no image: b.png" == event["exception"]["values"][0]["value"]
    assert event["request"]["url"].endswith("/unnamed")


def test_redact_applies(kept: Kept, url: str) -> None:
    """The stand-in has the type's name, so events are grouped as before."""
    redact = {"redact": lambda text: text.replace("s3cret", "***")}
    [event] = events(kept, url, "secretly", **redact)
    [exception] = event["exception"]["values"]

    assert ("ValueError", "***") == (exception["type"], exception["value"])
    assert exception["stacktrace"]["frames"]
    assert "s3cret" not in str({**event, "exception": [exception["type"], exception["value"]]})


def test_a_monitor_of_a_task_checks_in(kept: Kept, url: str) -> None:
    """The task keeps its name although it is wrapped."""
    with site(url) as client:
        client.post("/checked_in")
        wait_for_events(kept, 2)

    assert ["in_progress", "ok"] == [event["status"] for event in kept.events]
