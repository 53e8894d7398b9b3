"""Tasks of taskiq, Huey and Procrastinate, run by test_others.py where these are installed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(os.environ["FLEET_PACKAGES"])  # behind ours, which some of them need, too

import huey
import procrastinate
import taskiq

from afterword.errors import NotStorable
from tests.fleets.site import Fleet, post, serving_fleet

broker = taskiq.InMemoryBroker()
immediate = huey.MemoryHuey(immediate=True)
app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
ran: list[str] = []


@broker.task
async def of_taskiq(text: str) -> None:
    ran.append(text)


@immediate.task()
def of_huey(text: str) -> None:
    ran.append(text)


@app.task
def of_procrastinate(text: str) -> None:
    ran.append(text)


@pytest.fixture(params=[True, False], ids=["started", "not started"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path, started=request.param, tasks=[sys.modules[__name__]]) as site:
        yield site


@pytest.mark.parametrize(
    ("func", "system", "call"),
    [
        (of_taskiq, "taskiq", r"task\.kiq"),
        (of_taskiq.kiq, "taskiq", r"task\.kiq"),
        (of_huey, "Huey", r"task\(\.\.\.\)"),
        (of_procrastinate, "Procrastinate", r"task\.defer_async"),
        (of_procrastinate.defer, "Procrastinate", r"task\.defer_async"),
    ],
    ids=["taskiq", "kiq", "huey", "procrastinate", "defer"],
)
def test_the_task_of_another_system_runs_nowhere(
    site: Fleet, func: Any, system: str, call: str
) -> None:
    with pytest.raises(NotStorable, match=f"A {system} task cannot be added(.|\n)*{call}"):
        post(site, lambda tasks: tasks.add_task(func, "hello"))

    assert [] == site.jobs()
    assert [] == ran
