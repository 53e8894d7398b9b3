"""Log lines: what they say, and what nobody can make them say."""

import logging
from typing import Any

import pytest

from afterword import telemetry
from afterword.model.outcome import Cancelled, Completed, Failed, Outcome, Released, RetryAt

FORGED = "x\nERROR failed job=forged\r\x1b[2J\u2028\x85"


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
    telemetry.ended("id", "m:f", 2, outcome, 0.5)
    [line] = caplog.records

    assert level == line.levelno
    assert line.getMessage().startswith(f"{verb} job=id task=m:f attempt=2 seconds=0.500")
    assert isinstance(outcome, Completed | Released) or line.getMessage().endswith("\n    why")


def test_what_is_long_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    telemetry.put_back("id", "m:" + "f" * 100_000, "why\n" * 100_000)
    [line] = caplog.records

    assert len(line.getMessage()) < 10_000
    assert "... (100,002 in all) reason=why" in line.getMessage()


EVENTS: dict[str, Any] = {
    "ended": lambda: telemetry.ended("id", FORGED, 1, Failed(FORGED), 0.1),
    "lost_lease": lambda: telemetry.lost_lease("id", FORGED, 1),
    "id": lambda: telemetry.lost_lease(FORGED, "m:f", 1),
    "not_recovered": lambda: telemetry.not_recovered(FORGED, ValueError(FORGED)),
    "schedule_failed": lambda: telemetry.schedule_failed(FORGED, ValueError(FORGED)),
    "started": lambda: telemetry.started(FORGED, "power-loss", "worker", 1),
    "recovered": lambda: telemetry.recovered("id", FORGED, 1, 1, "queued"),
    "postponed": lambda: telemetry.postponed(ValueError(FORGED)),
    "forgotten": lambda: telemetry.forgotten("id", FORGED, 1, "queued"),
    "put_back": lambda: telemetry.put_back("id", FORGED, FORGED),
    "not_durable": lambda: telemetry.not_durable(FORGED, FORGED),
    "task_failed": lambda: telemetry.task_failed(FORGED, FORGED),
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
    """Raises where the library logs."""

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
