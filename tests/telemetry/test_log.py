"""Log lines: their content, which no task can forge."""

import json
import logging
import threading
from collections.abc import Iterator
from contextvars import Context, ContextVar
from dataclasses import replace
from typing import Any

import pytest
import structlog

from afterword import telemetry
from afterword.errors import NotStorable
from afterword.model.outcome import Cancelled, Completed, Failed, Outcome, Released, RetryAt
from afterword.store.protocol import Claim
from afterword.tasks.arguments import plan
from afterword.worker.context import TaskContext
from afterword.worker.services import WorkerServices

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop.py", line 5, in pay
    raise Declined("no money")
shop.Declined: no money"""
FORGED = "x\nERROR failed job=forged\r\x1b[2J\u2028\x85"


def a_claim(task: str, attempt: int = 1) -> Claim:
    return Claim("id", attempt, "worker", task, "{}", 0.0)


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(telemetry, "_warned", set())
    caplog.set_level(logging.DEBUG, "afterword")


@pytest.mark.parametrize(
    ("outcome", "level", "verb"),
    [
        (Completed(), logging.DEBUG, "completed"),
        (Failed("why"), logging.ERROR, "failed"),
        (Cancelled("why"), logging.WARNING, "cancelled"),
        (RetryAt(0.0, "why"), logging.WARNING, "retry"),
        (Released(), logging.WARNING, "released"),
    ],
)
def test_an_outcome_is_one_line(
    outcome: Outcome, level: int, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.ended(a_claim("m:f", attempt=2), outcome, 0.5)
    [line] = caplog.records

    assert level == line.levelno
    assert line.getMessage().startswith(f"{verb} job=id task=m:f attempt=2 seconds=0.500")
    assert isinstance(outcome, Completed | Released) or line.getMessage().endswith("\n    why")


def test_what_is_long_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    telemetry.put_back(a_claim("m:" + "f" * 100_000), "why\n" * 100_000)
    [line] = caplog.records

    assert len(line.getMessage()) < 10_000
    assert "... (100,002 in all) reason=why" in line.getMessage()


EVENTS: dict[str, Any] = {
    "ended": lambda: telemetry.ended(a_claim(FORGED), Failed(FORGED), 0.1),
    "lost_lease": lambda: telemetry.lost_lease(a_claim(FORGED)),
    "id": lambda: telemetry.lost_lease(replace(a_claim("m:f"), id=FORGED)),
    "not_recovered": lambda: telemetry.not_recovered(FORGED, ValueError(FORGED)),
    "schedule_failed": lambda: telemetry.schedule_failed(FORGED, ValueError(FORGED)),
    "started": lambda: telemetry.started(FORGED, "power-loss", "worker", 1),
    "overrun": lambda: telemetry.overrun(a_claim(FORGED), slot_freed=True),
    "recovered": lambda: telemetry.recovered("id", FORGED, 1, 1, "queued"),
    "postponed": lambda: telemetry.postponed(ValueError(FORGED)),
    "forgotten": lambda: telemetry.forgotten("id", FORGED, 1, "queued"),
    "put_back": lambda: telemetry.put_back(a_claim(FORGED), FORGED),
    "not_durable": lambda: telemetry.not_durable(FORGED, FORGED),
    "task_failed": lambda: telemetry.task_failed("id", FORGED, FORGED),
    "not_stored": lambda: telemetry.not_stored(FORGED),
    "claim_failed": lambda: telemetry.claim_failed(ValueError(FORGED)),
    "settle_failed": lambda: telemetry.settle_failed("id", ValueError(FORGED)),
    "step_failed": lambda: telemetry.step_failed(ValueError(FORGED)),
    "answer_refused": lambda: telemetry.answer_refused(ValueError(FORGED)),
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_no_text_of_a_user_can_forge_a_line(event: Any, caplog: pytest.LogCaptureFixture) -> None:
    event()
    [record] = caplog.records
    first, *rest = record.getMessage().split("\n")

    assert first.isprintable()
    assert all(line.isprintable() and line.startswith("    ") for line in rest)


def test_an_error_without_text_can_be_told(caplog: pytest.LogCaptureFixture) -> None:
    class NoText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    telemetry.claim_failed(NoText())

    assert "NoText" in caplog.text


def test_what_is_not_durable_is_said_once_per_function(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        telemetry.not_durable("m:f", "why")
        telemetry.not_durable("m:g", "why")
        telemetry.not_started()

    assert 3 == len(caplog.records)


class Broken(logging.Handler):
    """A logger that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no space left on device")


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_a_handler_that_raises_is_contained(event: Any, capsys: pytest.CaptureFixture[str]) -> None:
    handler = Broken()
    telemetry.logger.addHandler(handler)
    try:
        event()
    finally:
        telemetry.logger.removeHandler(handler)

    assert "no space left on device" in capsys.readouterr().err


# ---------------------------------------------------------------------- records


def an_error(text: str) -> ValueError:
    local = "an argument"
    try:
        raise ValueError(text or local)
    except ValueError as error:
        return error


def test_a_failure_has_its_exception_and_its_job(caplog: pytest.LogCaptureFixture) -> None:
    """A formatter shows the text after `redact`, indented."""
    claim = Claim("id", 3, "worker", "m:f", "{}", 0.0, queue="mail", tags=("nightly",))
    cause = telemetry.Cause(error=an_error("the exception"), trace_id="ab" * 16)
    telemetry.ended(claim, Failed("the text\nof it"), 0.5, cause)
    [record] = caplog.records
    given = {"job_id": "id", "task": "m:f", "queue": "mail", "attempt": 3, "trace_id": "ab" * 16}

    assert given.items() <= vars(record).items()
    assert ["nightly"] == vars(record)["job_tags"]
    assert record.exc_info is not None
    assert record.exc_info[1] is cause.error
    assert "failed job=id task=m:f attempt=3 seconds=0.500" == record.getMessage()
    assert logging.Formatter().format(record).endswith("0.500\n    the text\n    of it")


@pytest.mark.parametrize("event", ["lost_lease", "overrun", "put_back", "ended"])
def test_a_line_about_an_attempt_has_its_job(event: str, caplog: pytest.LogCaptureFixture) -> None:
    EVENTS[event]()
    [record] = caplog.records

    assert ("id", FORGED, "default", 1, []) == tuple(
        vars(record)[each] for each in ("job_id", "task", "queue", "attempt", "job_tags")
    )


def test_the_template_tells_tasks_and_outcomes_apart(caplog: pytest.LogCaptureFixture) -> None:
    for task, outcome in (("m:f", Failed("x")), ("m:%s", Failed("x")), ("m:f", RetryAt(0.0, "x"))):
        telemetry.ended(a_claim(task), outcome, 0.5)
    templates = [record.msg for record in caplog.records]

    assert 3 == len(set(templates))
    assert "task=m:%s" in caplog.records[1].getMessage()


def test_a_line_is_written_in_the_context_of_its_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """Handlers find values there that the task has put into context variables."""
    variable: ContextVar[str] = ContextVar("variable")
    variables = Context()
    variables.run(variable.set, "of the attempt")
    seen: list[str] = []

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(variable.get(""))

    handler = Seeing()
    telemetry.logger.addHandler(handler)
    telemetry.ended(a_claim("m:f"), Failed("x"), 0.5, telemetry.Cause(variables=variables))
    telemetry.ended(a_claim("m:f"), Failed("x"), 0.5)
    telemetry.logger.removeHandler(handler)

    assert ["of the attempt", ""] == seen


def test_json_and_structlog_show_the_job(caplog: pytest.LogCaptureFixture) -> None:
    """They are set up as on the page about logging."""
    cause = telemetry.Cause(error=an_error("redacted"))
    telemetry.ended(a_claim("m:f"), Failed("x"), 0.5, cause)
    [record] = caplog.records
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ],
    )
    shown = json.loads(formatter.format(record))

    assert ("id", "m:f", 1) == (shown["job_id"], shown["task"], shown["attempt"])
    assert "redacted" == shown["exception"][0]["exc_value"]
    assert "argument" not in json.dumps(shown)


def test_json_and_structlog_show_an_exception_of_another_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only its text is in this process."""
    telemetry.ended(a_claim("m:f"), Failed(TRACEBACK), 0.5)
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is not None

    assert "failed job=id task=m:f attempt=1 seconds=0.500" == record.getMessage()
    assert ("Declined", "no money") == (record.exc_info[0].__name__, str(record.exc_info[1]))
    assert [TRACEBACK] == record.exc_info[1].__notes__
    assert "0.500\n    Traceback" in logging.Formatter().format(record)


def test_what_is_not_durable_names_no_argument(caplog: pytest.LogCaptureFixture) -> None:
    """Keys of mappings are arguments, too."""
    with pytest.raises(NotStorable) as raised:
        plan(lambda a: None).encode(({"s3cret": {"s3cret": threading.Lock()}},), {})
    with pytest.raises(NotStorable) as raised_for_iterator:
        plan(lambda a: None).encode(({("s3cret",): iter("s3cret")},), {})
    for each in (raised, raised_for_iterator):
        telemetry.not_durable(f"m:{len(caplog.records)}", each.value.logged)

    assert "s3cret" not in caplog.text
    assert "'a' of" in caplog.records[0].getMessage()


@pytest.fixture
def own_factory() -> Iterator[None]:
    """A record factory of the application, which sets the same attributes as the library."""
    usual = logging.getLogRecordFactory()

    def factory(*args: Any, **options: Any) -> logging.LogRecord:
        record = usual(*args, **options)
        record.trace_id = record.task = "of the application"
        return record

    logging.setLogRecordFactory(factory)
    yield
    logging.setLogRecordFactory(usual)


@pytest.mark.usefixtures("own_factory")
def test_a_record_factory_loses_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """`extra` with a name that the factory has set would raise."""
    cause = telemetry.Cause(trace_id="ab" * 16)
    telemetry.ended(a_claim("m:f"), Failed("x"), 0.5, cause)
    [record] = caplog.records

    assert ("m:f", "ab" * 16) == (vars(record)["task"], vars(record)["trace_id"])


@pytest.mark.usefixtures("own_factory")
def test_a_record_factory_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    """The factory's attributes stay; the other attributes of the attempt are added."""
    context = TaskContext(a_claim(f"{__name__}:f"), WorkerServices(), 0.0)
    context.logger.warning("sent", extra={"mine": 1})
    [record] = [each for each in caplog.records if each.name == __name__]

    assert "of the application" == vars(record)["task"]
    assert ("id", 1, 1) == tuple(vars(record)[each] for each in ("job_id", "attempt", "mine"))
