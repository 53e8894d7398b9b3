"""Tasks that run in several processes, and the ledger: a file to which they append their steps."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from afterword import Afterword, current_task, task
from tests.at_work import wait_for

# ---------------------------------------------------------------------- the ledger


def write(event: str, name: str) -> None:
    """Write down an event with its time (by a clock that all processes share) and process."""
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{event} {name} {time.monotonic():.6f} {os.getpid()}\n")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the ledger."""

    event: str
    name: str
    at: float
    pid: int


def lines(ledger: Path, event: str | None = None) -> list[Line]:
    """Return the lines of the ledger, sorted by time."""
    found = [each.split() for each in ledger.read_text().splitlines()]
    all_of_it = [Line(event, name, float(at), int(pid)) for event, name, at, pid in found]
    return sorted((each for each in all_of_it if event in (None, each.event)), key=lambda e: e.at)


def clear(ledger: Path) -> None:
    """Empty the ledger."""
    ledger.write_text("")


def names(ledger: Path, event: str) -> list[str]:
    """Return the names with this event, in order."""
    return [line.name for line in lines(ledger, event)]


def most_at_once(ledger: Path) -> int:
    """Return the largest number of intervals that overlapped."""
    running = most = 0
    for line in lines(ledger):
        running += {"begin": 1, "end": -1}.get(line.event, 0)
        most = max(most, running)
    return most


# ---------------------------------------------------------------------- tasks


def begin_and_end(name: str, seconds: float = 0.0) -> None:
    """Note the beginning and the end of its run."""
    write("begin", name)
    time.sleep(seconds)
    write("end", name)


def note_and_hang(name: str) -> None:
    """Note the beginning, and do not end."""
    begin_and_end(name, 60)


@task(limit=2)
def two_at_a_time(name: str, seconds: float = 0.0) -> None:
    """Run at most two at a time across all processes."""
    begin_and_end(name, seconds)


@task(limit=1, key=lambda customer: customer)
def one_of_a_customer(customer: str, name: str, seconds: float = 0.0) -> None:
    """Run at most one job of each customer at a time across all processes."""
    begin_and_end(f"{customer}:{name}", seconds)


@task(queue="mail")
def send(name: str, seconds: float = 0.0) -> None:
    """Run in a queue that may have a limit."""
    begin_and_end(name, seconds)


@task(on_crash="fail", retries=5)
def at_most_once(name: str) -> None:
    """Run at most once, although its process is killed."""
    note_and_hang(name)


@task(limit=1)
def alone(name: str, seconds: float = 0.0) -> None:
    """Run one at a time; its process may be killed."""
    begin_and_end(name, seconds)


@task(limit=1)
def alone_until_killed(name: str, hangs: bool = False) -> None:
    """One at a time; the first attempt of one that hangs ends with its process."""
    begin_and_end(name, 60 if hangs and current_task().attempt == 1 else 0)


# ---------------------------------------------------------------------- what processes do


async def add_unique(url: str, keys: int, times: int) -> dict[str, list[str]]:
    """Add jobs with these keys, each several times at once; returns their ids by key."""
    afterword = Afterword(None, url)
    names = [f"{number}" for number in range(keys) for _ in range(times)]
    write("ready", "adder")
    ledger = Path(os.environ["LEDGER"])
    await wait_for(lambda: len(lines(ledger, "ready")) == 2, description="both are ready")
    jobs = await asyncio.gather(*(_add(afterword, name) for name in names))
    afterword.close()
    ids: dict[str, list[str]] = {}
    for name, job_id in zip(names, jobs, strict=True):
        ids.setdefault(name, []).append(job_id)
    return ids


async def _add(afterword: Afterword, name: str) -> str:
    job = await afterword.options(unique=f"key:{name}").add_task(begin_and_end, name)
    return job.id


def tick(name: str = "tick") -> None:
    """Run an occurrence of the schedule of `scheduling`."""
    begin_and_end(name)


def scheduling(url: str, **options: Any) -> Afterword:
    """Run an application that has a schedule, and that runs no jobs."""
    afterword = Afterword(Starlette(), url, worker=False, **options)
    afterword.every(seconds=1, name="ticks")(tick)
    return afterword
