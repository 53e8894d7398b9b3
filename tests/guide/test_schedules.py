"""Delays and schedules: they need no second process."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterword import Afterword, JobState, current_task
from afterword.errors import ConfigurationError
from tests.helpers import wait_until

told: list[tuple[str, ...]] = []


def remind(name: str) -> None:
    told.append((name, *current_task().tags))


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


def test_a_job_may_start_later(app: FastAPI, afterword: Afterword) -> None:
    """`delay` is seconds or a timedelta; `run_at` is a datetime with a time zone."""
    with TestClient(app):
        soon = afterword.options(delay=0.05).add_task_sync(remind, "Ann")
        later = afterword.options(delay=timedelta(days=1)).add_task_sync(remind, "Bob")
        then = datetime(2199, 12, 31, tzinfo=UTC)
        much_later = afterword.options(run_at=then).add_task_sync(remind, "Eve")
        soon.wait_sync(timeout=60)

        assert {JobState.QUEUED} == {job.refresh_sync().state for job in (later, much_later)}
        assert [("Ann",)] == told


def test_a_schedule_creates_jobs(app: FastAPI, afterword: Afterword) -> None:
    """Each occurrence becomes one job, even if many processes have the schedule."""
    afterword.every(seconds=1, name="reminder", args=("Ann",))(remind)
    with TestClient(app):
        wait_until(lambda: told, description="the schedule has created a job")

    assert ("Ann", "schedule:reminder") == told[0]


def test_a_schedule_may_be_a_cron_expression(app: FastAPI, afterword: Afterword) -> None:
    """The task stays a plain function. Errors in the expression are found at once."""

    @afterword.every("0 9 * * MON-FRI", timezone="Europe/Berlin")
    def report() -> str:
        return "Good morning"

    assert "Good morning" == report()
    with pytest.raises(ConfigurationError, match="must have five fields"):
        afterword.every("0 9 * *")
