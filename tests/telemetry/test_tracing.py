"""Traces: the spans of a job, their attributes, and their parents."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from afterword import Afterword, JobState, current_task, task
from afterword.client.call import traced
from afterword.fastapi import BackgroundTasks
from afterword.fleets.sender import Sender
from afterword.model.job import JobOptions, NewJob
from afterword.telemetry import listeners
from afterword.telemetry.listeners import Providers
from tests.at_work import at_work, edit, ended, record, url_in, wait_for
from tests.life.site import script, serving, working

pytestmark = pytest.mark.anyio

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


# ---------------------------------------------------------------------- tasks


def note() -> None:
    """Note the span in which it runs, and the baggage."""
    seen.append((trace.get_current_span(), baggage.get_baggage("tenant")))


async def note_async() -> None:
    """Note the span and the baggage, in the event loop."""
    note()


def fail(text: str) -> None:
    """Raise."""
    raise ConnectionError(text)


@task(retries=1, backoff=[0])
def fail_once() -> None:
    """Succeed at the second attempt."""
    if current_task().attempt == 1:
        raise ConnectionError("no route to host")


def add_a_child() -> None:
    """Add another job."""
    current_task().add_task(note)


@task(executor="process")
def add_a_child_from_a_process() -> None:
    """Add another job, from a child process without a provider."""
    current_task().add_task(note)


TASKS = {"def": note, "async": note_async}


# ---------------------------------------------------------------------- helpers


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def name_of(func: Callable[..., Any]) -> str:
    return f"{__name__}:{func.__qualname__}"


async def spans_of(
    exporter: InMemorySpanExporter, func: Callable[..., Any]
) -> tuple[ReadableSpan, ReadableSpan]:
    """Return the span that sent the only job of a task, and the span of its only attempt."""
    await wait_for(lambda: named(exporter, f"process {name_of(func)}"), description="it has run")
    [sent] = named(exporter, f"send {name_of(func)}")
    [ran] = named(exporter, f"process {name_of(func)}")
    return sent, ran


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and bool(span.parent.span_id == parent.context.span_id)


# ---------------------------------------------------------------------- in a request


@pytest.mark.parametrize("kind", TASKS)
async def test_a_job_has_a_span_in_its_request_and_one_for_its_attempt(
    store_url: str, exporter: InMemorySpanExporter, kind: str
) -> None:
    """The attempt belongs to the trace of the request, with its baggage."""
    func = TASKS[kind]
    tracer = trace.get_tracer(__name__)

    def add(background_tasks: BackgroundTasks) -> list[Any]:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        with tracer.start_as_current_span("handler"):
            job = background_tasks.options(queue="default").add_task(func)
        context.detach(token)
        return [job]

    async with serving(store_url, add) as site:
        [job_id] = await site.post()
        sent, ran = await spans_of(exporter, func)
        stored = await record(site.afterword, site.jobs[0])
    [handler] = named(exporter, "handler")
    [(current, tenant)] = seen

    assert is_child(sent, handler)
    assert is_child(ran, sent)
    assert (SpanKind.PRODUCER, SpanKind.CONSUMER) == (sent.kind, ran.kind)
    expected = {
        "messaging.system": "afterword",
        "messaging.destination.name": "default",
        "messaging.message.id": job_id,
        "code.function.name": f"{__name__}.{func.__name__}",
        "afterword.task": name_of(func),
    }
    operation = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    assert {**expected, **operation} == sent.attributes
    operation = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
    attempt = {"afterword.attempt": 1, "afterword.outcome": "completed"}
    assert {**expected, **operation, **attempt} == ran.attributes
    assert StatusCode.UNSET == ran.status.status_code
    assert ran.context.span_id == current.get_span_context().span_id
    assert "acme" == tenant
    assert f"{handler.context.trace_id:032x}" == stored.trace_id


async def test_a_failure_is_in_the_span(store_url: str, exporter: InMemorySpanExporter) -> None:
    """The span has the status, the type and the exception, after `redact`."""
    redact = {"redact": lambda text: text.replace("s3cret", "***")}
    async with working(store_url, **redact) as afterword:
        await ended(afterword, await afterword.add_task(fail, "s3cret is wrong"))
        _, ran = await spans_of(exporter, fail)
    [event] = ran.events
    assert event.attributes is not None

    assert StatusCode.ERROR == ran.status.status_code
    assert "*** is wrong" == ran.status.description
    assert (ran.attributes or {})["error.type"] == "ConnectionError"
    assert (ran.attributes or {})["afterword.outcome"] == "failed"
    assert "exception" == event.name
    assert "ConnectionError" == event.attributes["exception.type"]
    assert "*** is wrong" == event.attributes["exception.message"]
    assert "raise ConnectionError" in str(event.attributes["exception.stacktrace"])
    assert "s3cret" not in ran.to_json()


async def test_each_attempt_has_a_span(store_url: str, exporter: InMemorySpanExporter) -> None:
    """All are in the same trace, side by side."""
    async with working(store_url) as afterword:
        await ended(afterword, await afterword.add_task(fail_once))
    [sent] = named(exporter, f"send {name_of(fail_once)}")
    first, second = named(exporter, f"process {name_of(fail_once)}")

    assert is_child(first, sent)
    assert is_child(second, sent)
    assert ["retry", "completed"] == [
        (s.attributes or {})["afterword.outcome"] for s in (first, second)
    ]
    assert StatusCode.ERROR == first.status.status_code


# ---------------------------------------------------------------------- long after it


@pytest.mark.parametrize(("options", "linked"), [({}, True), ({"trace_within": 500}, False)])
async def test_an_attempt_that_starts_late_begins_a_trace_of_its_own(
    tmp_path: Path, exporter: InMemorySpanExporter, options: dict[str, Any], linked: bool
) -> None:
    """It is linked to the span that sent the job; otherwise a trace would last for days."""
    with script(url_in(tmp_path)) as afterword:
        await afterword.add_task(note)
    edit(tmp_path, "UPDATE afterword_jobs SET created_at = created_at - 400")
    async with at_work(tmp_path, **options):
        sent, ran = await spans_of(exporter, note)

    assert (not linked) == is_child(ran, sent)
    assert linked == (ran.context.trace_id != sent.context.trace_id)
    assert ([sent.context.span_id] if linked else []) == [s.context.span_id for s in ran.links]


# ---------------------------------------------------------------------- every way to add a job


@pytest.mark.parametrize("parent", [add_a_child, add_a_child_from_a_process])
async def test_a_child_belongs_to_the_trace_of_its_parent(
    store_url: str, exporter: InMemorySpanExporter, parent: Callable[[], None]
) -> None:
    """If the parent's process has no provider, the parent's own span is used."""
    async with working(store_url) as afterword:
        await ended(afterword, await afterword.add_task(parent))
        await wait_for(lambda: named(exporter, f"process {name_of(note)}"), description="the child")
    [outer] = named(exporter, f"process {name_of(parent)}")
    [inner] = named(exporter, f"process {name_of(note)}")
    between = named(exporter, f"send {name_of(note)}")

    assert (0 if parent is add_a_child_from_a_process else 1) == len(between)
    assert is_child(inner, between[0] if between else outer)
    assert outer.context.trace_id == inner.context.trace_id


async def test_a_job_in_a_transaction_has_a_span(
    tmp_path: Path, exporter: InMemorySpanExporter
) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    async with working(url) as afterword:
        connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        afterword.bind(connection).add_task(note)
        connection.execute("COMMIT")
        connection.close()
        sent, ran = await spans_of(exporter, note)

    assert is_child(ran, sent)


async def test_a_call_is_handed_over_in_the_context_of_its_attempt() -> None:
    """Instrumentation, for example Celery's, finds the span there and continues it."""

    class Fleet:
        system = "Fleet"

        def connect(self) -> "Fleet":
            return self

        def send(self, *_: object) -> None:
            seen.append(trace.get_current_span())

    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    token = context.attach(trace.set_span_in_context(span))
    fleet: Any = Fleet()
    await Sender(fleet).send(fleet, "id", [], {})
    context.detach(token)

    assert [span] == seen


def test_a_copy_of_a_job_has_a_span_of_its_own(exporter: InMemorySpanExporter) -> None:
    """It does not have the span of the copied job, which may be days old."""
    old = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    copied = NewJob(id="copy", task="m:f", options=JobOptions(retries=3, trace=old).text())
    options = JobOptions.read(traced(copied).options)
    [sent] = named(exporter, "send m:f")

    assert f"{sent.context.trace_id:032x}" == options.trace_id
    assert 3 == options.retries


def test_a_copy_has_no_span_if_nobody_listens() -> None:
    old = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    copied = NewJob(id="copy", task="m:f", options=JobOptions(trace=old).text())

    assert traced(copied).options is None


async def test_each_occurrence_of_a_schedule_is_a_trace(
    store_url: str, exporter: InMemorySpanExporter
) -> None:
    """It is not part of the trace in which the application started."""
    from starlette.applications import Starlette

    afterword = Afterword(Starlette(), store_url)
    afterword.every(seconds=1)(note)
    with trace.get_tracer(__name__).start_as_current_span("start"):
        await afterword.start()
    process = f"process {name_of(note)}"
    await wait_for(lambda: len(named(exporter, process)) > 1, description="two have run")
    await afterword.stop()
    first, second = named(exporter, f"send {name_of(note)}")[:2]
    [started] = named(exporter, "start")

    assert 3 == len({span.context.trace_id for span in (started, first, second)})
    assert {span.context.span_id for span in (first, second)} <= {
        span.parent.span_id for span in named(exporter, process) if span.parent
    }


# ---------------------------------------------------------------------- without listeners


async def test_nothing_is_stored_if_nobody_listens(store_url: str) -> None:
    with script(store_url) as afterword:
        job = await afterword.add_task(note)
        stored = await record(afterword, job)

    assert stored.options is None
    assert stored.trace_id is None


async def test_a_processor_that_raises_loses_no_job(
    store_url: str, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, *_: Any, **__: Any) -> None:
            raise OSError("no collector")

    provider.add_span_processor(Broken())
    async with working(store_url) as afterword:
        job = await ended(afterword, await afterword.add_task(note))

    assert JobState.COMPLETED == job.state
    assert "tracing_failed" in caplog.text


def test_an_options_text_that_was_edited_is_read() -> None:
    for text in ('{"trace": 5}', '{"trace": {"traceparent": 5}}', '{"trace": []}'):
        assert JobOptions.read(text).trace is None
    assert JobOptions.read('{"trace": {"traceparent": "x"}}').trace_id is None


# ---------------------------------------------------------------------- as FastAPI's own


def fastapi_fails(http: bool) -> None:
    """Raise, as in one of FastAPI's tests."""
    raise HTTPException(503) if http else ValueError("background failure")


def an_application(provider: TracerProvider, url: str) -> FastAPI:
    app = FastAPI(telemetry={"tracer_provider": provider})
    Afterword(app, url)

    def inner() -> None:
        note()

    @app.get("/{what}")
    async def endpoint(what: str, background_tasks: BackgroundTasks) -> None:
        if what == "unnamed":
            background_tasks.add_task(inner)
        elif what == "unnamed-fails":
            background_tasks.add_task(lambda: fastapi_fails(False))
        elif what == "two":
            background_tasks.add_task(note)
            background_tasks.add_task(note_async)
        else:
            background_tasks.add_task(fastapi_fails, what == "http")

    return app


def _ran(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    names = ("fastapi.background_task", "process ")
    return [span for span in exporter.get_finished_spans() if span.name.startswith(names)]


def _wait_ran(exporter: InMemorySpanExporter, many: int) -> list[ReadableSpan]:
    from tests.helpers import wait_until

    wait_until(lambda: len(_ran(exporter)) == many, description="the tasks have run")
    return _ran(exporter)


@pytest.mark.parametrize("started", [True, False], ids=["durable", "not started"])
def test_what_fastapi_tests_of_its_background_tasks_holds(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter, started: bool
) -> None:
    """Each task has one span in the request's trace, current while it runs, in order."""
    client = TestClient(an_application(provider, f"sqlite:///{tmp_path / 'jobs.db'}"))
    if started:
        with client:
            client.get("/two")
            spans = _wait_ran(exporter, 2)
    else:
        client.get("/two")
        spans = _ran(exporter)
    [server] = [s for s in exporter.get_finished_spans() if s.kind is SpanKind.SERVER]

    names = [f"{__name__}.note", f"{__name__}.note_async"]
    assert names == [(span.attributes or {})["code.function.name"] for span in spans]
    assert [s.context.span_id for s in spans] == [
        current.get_span_context().span_id for current, _ in seen
    ]
    assert {server.context.trace_id} == {span.context.trace_id for span in spans}
    assert {StatusCode.UNSET} == {span.status.status_code for span in spans}
    assert started or {"fastapi.background_task"} == {span.name for span in spans}
    assert started or all(is_child(span, server) for span in spans)
    assert started or all((s.start_time or 0) >= (server.end_time or 1) for s in spans)


@pytest.fixture
def own_provider() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """A provider that is not the global one, and its spans."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


def test_the_provider_of_an_application_has_its_jobs(
    tmp_path: Path, own_provider: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    """FastAPI takes a provider for itself; a global one is not needed."""
    provider, exporter = own_provider
    with TestClient(an_application(provider, f"sqlite:///{tmp_path / 'jobs.db'}")) as client:
        client.get("/two")
        ran = _wait_ran(exporter, 2)
    [server] = [s for s in exporter.get_finished_spans() if s.kind is SpanKind.SERVER]

    assert {server.context.trace_id} == {span.context.trace_id for span in ran}
    assert not listeners.want_spans()  # it is forgotten


@pytest.mark.usefixtures("provider")
def test_the_own_provider_of_an_application_goes_before_the_global_one(
    tmp_path: Path,
    exporter: InMemorySpanExporter,
    own_provider: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    """The same holds for FastAPI's spans, to which the jobs' spans belong."""
    provider, own_exporter = own_provider
    with TestClient(an_application(provider, f"sqlite:///{tmp_path / 'jobs.db'}")) as client:
        client.get("/two")
        _wait_ran(own_exporter, 2)

    assert () == exporter.get_finished_spans()


def test_applications_with_different_providers_use_the_global_one(provider: TracerProvider) -> None:
    providers = Providers("opentelemetry.trace", "get_tracer_provider", "", "tracer_provider")
    first, second = (TracerProvider(shutdown_on_exit=False) for _ in range(2))
    found = []
    for owner, own in ((first, first), (second, second)):
        providers.start(owner, FastAPI(telemetry={"tracer_provider": own}))
        found.append(providers.get())
    providers.stop(first)
    found.append(providers.get())

    assert [first, provider, second] == found


def test_a_provider_that_raises_loses_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(NoOpTracerProvider):
        def get_tracer(self, *_: Any, **__: Any) -> Any:
            raise OSError("no collector")

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Raising())
    with script(url_in(tmp_path)) as afterword:
        job = afterword.add_task_sync(note)

    assert job.durable
    assert "tracing_failed" in caplog.text


def test_a_call_that_cannot_be_stored_has_the_span_of_fastapi(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with TestClient(an_application(provider, f"sqlite:///{tmp_path / 'jobs.db'}")) as client:
        client.get("/unnamed")
    [span] = _ran(exporter)
    [server] = [s for s in exporter.get_finished_spans() if s.kind is SpanKind.SERVER]

    assert "fastapi.background_task" == span.name
    assert {"code.function.name": f"{__name__}.an_application.<locals>.inner"} == span.attributes
    assert is_child(span, server)


@pytest.mark.parametrize("started", [True, False], ids=["durable", "not started"])
@pytest.mark.parametrize("what", ["http", "other", "unnamed-fails"])
def test_a_failure_has_the_status_and_type_that_fastapi_gives_it(
    tmp_path: Path,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    started: bool,
    what: str,
) -> None:
    app = an_application(provider, f"sqlite:///{tmp_path / 'jobs.db'}")
    client = TestClient(app, raise_server_exceptions=False)
    if started:
        with client:
            client.get(f"/{what}")
            [span] = _wait_ran(exporter, 1)
    else:
        client.get(f"/{what}")
        [span] = _ran(exporter)
    kind = "fastapi.exceptions.HTTPException" if what == "http" else "ValueError"

    assert StatusCode.ERROR == span.status.status_code
    assert kind == (span.attributes or {})["error.type"]


def test_tasks_made_by_hand_have_the_span_of_fastapi(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """Without an Afterword in the application they behave like FastAPI's."""
    from starlette.responses import JSONResponse

    app = FastAPI(telemetry={"tracer_provider": provider})

    @app.get("/")
    async def endpoint() -> JSONResponse:
        tasks = BackgroundTasks()
        tasks.add_task(note)
        return JSONResponse("ok", background=tasks)

    TestClient(app).get("/")
    [span] = _ran(exporter)

    assert {"code.function.name": f"{__name__}.note"} == span.attributes


WITHOUT = """
import asyncio, sys

sys.modules["opentelemetry"] = None  # as if it were not installed; here FastAPI brings it

from starlette.applications import Starlette
from afterword import Afterword

def work() -> None:
    pass

async def main() -> None:
    afterword = Afterword(Starlette(), sys.argv[1])
    await afterword.start()
    job = await afterword.add_task(work)
    await job.wait(timeout=60)
    await afterword.stop()
    print(job.state, [name for name in sys.modules if name.startswith("opentelemetry.")])

if __name__ == "__main__":
    import without
    asyncio.run(without.main())
"""


def test_a_process_without_opentelemetry_imports_nothing_of_it(tmp_path: Path) -> None:
    """Its tasks run all the same."""
    program = tmp_path / "without.py"
    program.write_text(WITHOUT)
    command = [sys.executable, str(program), f"sqlite:///{tmp_path / 'jobs.db'}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "completed []" == ran.stdout.strip(), ran.stderr
