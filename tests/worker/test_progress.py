"""Progress of a task: valid reports, their cost, and their record."""

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from afterword import Afterword, JobState, Progress, TaskContext, current_task, task
from afterword.client.handle import ProgressRecord
from afterword.errors import StoreUnavailable
from afterword.store.protocol import Claim, Report, Store
from afterword.worker.progress import MESSAGE_LIMIT, Reports
from tests.at_work import at_work, ended, record, wait_for

CLAIM = Claim("id", 1, "worker", "app:send", "{}", 0.0)
go_on = threading.Event()


@pytest.fixture(autouse=True)
def _waiting() -> Iterator[None]:
    go_on.clear()
    yield
    go_on.set()


def progress(noted: list[Progress] | None = None) -> Progress:
    """The progress of an attempt."""
    return Progress(CLAIM, id if noted is None else noted.append)


def said(each: Progress) -> ProgressRecord | None:
    """Return the report that would be written now."""
    report = each.take()
    return None if report is None else ProgressRecord.read(report.progress)


# ---------------------------------------------------------------------- what it may say


def test_it_counts() -> None:
    each = progress()
    each.update(3, total=10, message="reading")
    each.advance()
    each.advance(1.5)

    assert ProgressRecord(5.5, 10, "reading") == said(each)
    assert (5.5, 10) == (each.current, each.total)


def test_what_is_not_said_again_stays() -> None:
    each = progress()
    each.update(1, total=2, message="one")
    each.update(2)
    both = said(each)
    each.message("two")

    assert ProgressRecord(2, 2, "one") == both
    assert ProgressRecord(2, 2, "two") == said(each)


def test_more_than_the_total_becomes_the_total() -> None:
    """A count that is too large by one must not fail the task."""
    each = progress()
    each.update(11, total=10)

    assert ProgressRecord(10, 10) == said(each)
    each.update(7, total=5)
    assert 5 == each.current


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.1, 10**400, "x", None])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    each = progress()

    with pytest.raises(ValueError, match="current must be a number from 0 on"):
        each.update(value)
    with pytest.raises(ValueError, match="n must be a number from 0 on"):
        each.advance(value)
    if value is not None:
        with pytest.raises(ValueError, match="total must be a number from 0 on"):
            each.update(0, total=value)
    assert said(each) is None


@pytest.mark.parametrize(
    ("value", "kept"), [(Decimal("1.5"), 1.5), (Fraction(1, 2), 0.5), (True, 1), (0, 0)]
)
def test_an_amount_may_be_any_kind_of_number(value: Any, kept: float) -> None:
    each = progress()
    each.update(value)

    assert kept == json.loads(each.take().progress)["current"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x00", "[31mred"),
        ("half \ud800 a pair", "half   a pair"),
        ("x" * 10_000, "x" * MESSAGE_LIMIT),
        ("\u202eright to left", "right to left"),
        (5, "5"),
        ("Größe 日本", "Größe 日本"),
        ("", ""),
    ],
)
def test_a_message_is_one_line(text: Any, kept: str) -> None:
    each = progress()
    each.message(text)

    assert ProgressRecord(0, None, kept) == said(each)


def test_track_counts_what_is_done() -> None:
    each = progress()
    seen = [(item, each.current, each.total) for item in each.track("abc")]

    assert [("a", 0, 3), ("b", 1, 3), ("c", 2, 3)] == seen
    assert ProgressRecord(3, 3) == said(each)


@pytest.mark.parametrize(
    ("make", "total", "expected"),
    [
        (lambda: iter([1, 2]), None, 2),  # it gives a hint
        (lambda: (x for x in [1, 2]), None, None),
        (lambda: (x for x in [1, 2]), 2, 2),
        (list, None, 0),
        (lambda: range(2), 4, 4),
    ],
)
def test_how_many_items_there_are(
    make: Callable[[], Any], total: float | None, expected: float | None
) -> None:
    each = progress()
    for _ in each.track(make(), total):
        pass

    assert expected == each.total


async def letters() -> AsyncIterator[str]:
    for letter in "abc":
        await asyncio.sleep(0)
        yield letter


@pytest.mark.anyio
async def test_track_takes_what_is_awaited() -> None:
    each = progress()
    seen = [(item, each.current) async for item in each.track(letters(), total=3)]

    assert [("a", 0), ("b", 1), ("c", 2)] == seen
    assert ProgressRecord(3, 3) == said(each)


def test_a_second_round_begins_anew() -> None:
    each = progress()
    for _ in each.track("abc"):
        pass
    for _ in each.track(iter([])):
        pass

    assert ProgressRecord(0, None) == said(each)


def test_it_notes_once_until_it_is_taken() -> None:
    noted: list[Progress] = []
    each = progress(noted)
    each.update(1)
    each.update(2)
    once = list(noted)
    each.take()
    each.update(3)

    assert [each] == once
    assert [each, each] == noted


def test_a_million_updates_cost_little() -> None:
    """They cost far less than the work that they report."""
    each = progress()
    begun = time.perf_counter()
    for number in range(1_000_000):
        each.update(number)
    took = time.perf_counter() - begun

    assert took < 30  # 0.2 s on an idle machine


# ---------------------------------------------------------------------- on record


class Counting:
    """A store that counts the reports that it writes."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reports: list[Report] = []
        self._report = store.report
        monkeypatch.setattr(store, "report", self.report)

    def report(self, reports: Any) -> Any:
        self.reports.extend(reports)
        return self._report(reports)


def say_a_million(progress: Progress) -> None:
    for _ in progress.track(range(1_000_000)):
        pass


async def say_by_context() -> None:
    current_task().progress.update(1, total=2, message="half")


def say_then_fail(progress: Progress) -> None:
    progress.update(7, total=10)
    raise ValueError("no luck")


@task(executor="process")
def say_in_process(progress: Progress) -> None:
    for number in progress.track(range(2_000_000)):
        if number == 1_000_000:
            progress.message("half")


@task(executor="process")
async def say_in_process_async(progress: Progress, context: TaskContext) -> None:
    assert context.progress is progress
    async for _ in progress.track(letters(), total=3):
        current_task().progress.message("a letter")


def say_and_wait(progress: Progress) -> None:
    progress.update(1, total=2, message="half")
    go_on.wait(60)


@task(executor="process")
def say_and_wait_in_process(file: str, progress: Progress) -> None:
    progress.update(1, total=2, message="half")
    while not Path(file).exists():
        time.sleep(0.01)


async def add(afterword: Afterword, func: Any, *args: Any) -> Any:
    return await afterword.add_task(func, *args)


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (say_a_million, ProgressRecord(1_000_000, 1_000_000)),
        (say_by_context, ProgressRecord(1, 2, "half")),
        (say_then_fail, ProgressRecord(7, 10)),
        (say_in_process, ProgressRecord(2_000_000, 2_000_000, "half")),
        (say_in_process_async, ProgressRecord(3, 3, "a letter")),
    ],
)
@pytest.mark.anyio
async def test_what_was_said_last_is_on_record_at_the_end(
    func: Any, expected: ProgressRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.monotonic()
    async with at_work(tmp_path) as afterword:
        counting = Counting(afterword.runtime.store, monkeypatch)
        job = await add(afterword, func)
        await ended(afterword, job)
        await job.refresh()
    took = time.monotonic() - begun

    assert expected == job.progress
    assert len(counting.reports) <= took / 0.5 + 2  # and the last one


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.anyio
async def test_what_was_said_is_seen_while_the_task_goes_on(
    in_process: bool, tmp_path: Path
) -> None:
    """This holds even if no later report comes for a long time."""
    file = tmp_path / "go on"
    async with at_work(tmp_path) as afterword:
        if in_process:
            job = await add(afterword, say_and_wait_in_process, str(file))
        else:
            job = await add(afterword, say_and_wait)
        while job.progress is None:
            await asyncio.sleep(0.01)
            await job.refresh()
        state = job.state
        go_on.set()
        file.touch()
        await ended(afterword, job)

    assert JobState.RUNNING is state
    assert ProgressRecord(1, 2, "half") == job.progress


@pytest.mark.anyio
async def test_a_report_of_somebody_elses_job_is_dropped(tmp_path: Path) -> None:
    """By the fence it is no error, and the attempt that has the job is not disturbed."""
    async with at_work(tmp_path) as afterword:
        job = await add(afterword, say_and_wait)
        await wait_for(
            lambda: afterword.runtime.store.get([job.id])[0].progress, description="it says"
        )
        claim = Claim(job.id, 2, "somebody", "app:send", "{}", 0.0)
        reports = Reports(afterword.runtime.group)
        other = Progress(claim, reports.note)
        other.update(9)
        answered = threading.Event()
        reports.write_last(other, answered.set)
        await wait_for(answered.is_set, description="the store has answered")
        found = ProgressRecord.read((await record(afterword, job)).progress)
        go_on.set()
        await ended(afterword, job)

    assert ProgressRecord(1, 2, "half") == found


class Away:
    """A store that cannot be reached at first."""

    def __init__(self) -> None:
        self.written: list[Report] = []
        self.away = True

    def report(self, reports: list[Report]) -> list[bool]:
        if self.away:
            raise StoreUnavailable("away")
        self.written.extend(reports)
        return [True] * len(reports)


def test_what_could_not_be_written_is_written_later() -> None:
    store: Any = Away()
    reports = Reports(None)  # type: ignore[arg-type]
    each = Progress(CLAIM, reports.note)
    each.update(5)
    with pytest.raises(StoreUnavailable):
        reports._write(store)
    store.away = False
    reports._write(store)
    reports._write(store)

    assert [5] == [json.loads(report.progress)["current"] for report in store.written]


@pytest.mark.anyio
async def test_it_survives_in_the_store_for_other_processes(tmp_path: Path) -> None:
    """The status API and the command line read it from there."""
    async with at_work(tmp_path) as afterword:
        job = await add(afterword, say_by_context)
        await ended(afterword, job)
    script = Afterword(None, afterword.url)
    found = await script.job(job.id)
    script.close()

    assert found is not None
    assert ProgressRecord(1, 2, "half") == found.progress
