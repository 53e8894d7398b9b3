"""A host with a wrong clock, and a store with the right one."""

import time

import pytest

from afterword import JobState, Retry, current_task
from afterword.model.clock import Clock
from tests.life.site import note, seen, store_of, working

pytestmark = pytest.mark.anyio

DAY = 24 * 3600.0


SKEWS = {"a-day-fast": DAY, "a-day-slow": -DAY, "1970": -time.time() + 3600, "2099": 73 * 365 * DAY}


def be_patient(seconds: float) -> None:
    seen.append(time.monotonic())
    if current_task().attempt == 1:
        raise Retry("busy", delay=seconds)


@pytest.mark.parametrize("skew", SKEWS.values(), ids=SKEWS)
async def test_delays_are_as_long_as_they_should_be(
    skew: float,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every part of the process reads the host's wrong clock."""
    monkeypatch.setattr(Clock, "now", lambda _: time.time() + skew)
    async with working(postgres_url) as afterword:
        at = time.monotonic()
        job = await (await afterword.options(delay=0.3).add_task(note, "x")).wait(60)
        seconds = time.monotonic() - at
        patient = await (await afterword.add_task(be_patient, 0.3)).wait(60)
        attempts = store_of(afterword).attempts(patient.id)
        kept = await afterword.job(job.id)

    assert 0.3 <= seconds < 30
    assert 0.3 <= seen[-1] - seen[-2] < 30
    assert (JobState.COMPLETED, 2) == (patient.state, patient.attempt)
    assert all(
        each.started_at and each.ended_at and each.started_at <= each.ended_at for each in attempts
    )
    assert kept
    assert "clock" in caplog.text


async def test_a_right_clock_is_not_worth_a_word(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(store_url) as afterword:
        await (await afterword.add_task(note, "x")).wait(60)

    assert "clock" not in caplog.text
