"""Schedules in a worker: each occurrence gets one job, however many processes there are."""

import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from starlette.applications import Starlette

from afterword import Afterword, Job, JobRecord, JobState, NotStorable, task
from afterword.errors import ArgumentError, ConfigurationError
from afterword.model.clock import Clock
from afterword.model.job import first_id
from afterword.model.records import Filter
from afterword.schedules.schedule import occurrence_id
from afterword.store.opening import open_store
from afterword.store.protocol import Declared, Due, Store
from afterword.store.sqlite import SQLiteStore
from tests.at_work import wait_for
from tests.helpers import wait_until
from tests.life.process import Process, end, start
from tests.life.site import (
    gate,
    note,
    script,
    seen,
    sleep_long,
    store_of,
    wait_at_gate,
    working,
)
from tests.life.tasks import alone, most_at_once, names, scheduling

pytestmark = pytest.mark.anyio

Declare = Callable[[Afterword], object]


@asynccontextmanager
async def keeping(url: str, declare: Declare, **options: Any) -> AsyncIterator[Afterword]:
    """Run an application whose code has schedules."""
    afterword = Afterword(Starlette(), url, grace=2.0, **options)
    declare(afterword)
    await afterword.start()
    try:
        yield afterword
    finally:
        await afterword.stop()


def jobs_of(store: Store, name: str) -> list[JobRecord]:
    """Return the jobs of a schedule, by their occurrences."""
    return sorted(store.find(Filter(tag=f"schedule:{name}"), limit=1_000), key=lambda job: job.id)


def occurrence(job: JobRecord, name: str) -> int:
    """Return the second that a job stands for, from its id."""
    at = int(job.id[:8] + job.id[9:13], 16) // 1000
    assert occurrence_id(name, at) == job.id
    return at


def next_at(store: Store, name: str) -> datetime:
    """Return the time of a schedule's cursor."""
    return next(each.next_at for each in store.schedules() if each.name == name)


# ---------------------------------------------------------------------- occurrences


async def test_each_occurrence_becomes_a_job(store_url: str) -> None:
    """It has the schedule's arguments and the task's options, and comes soon after its time."""

    def declare(afterword: Afterword) -> None:
        afterword.every(seconds=1, name="a", args=["given"])(note)
        afterword.every(seconds=1, missed="all").add_task(late, name="x")

    async with keeping(store_url, declare, queues=["default", "mail"]) as afterword:
        await wait_for(
            lambda: min(seen.count("given"), seen.count("x")) >= 2,
            description="two occurrences of each have run",
        )
        jobs = jobs_of(store_of(afterword), "a")[:2]
        others = jobs_of(store_of(afterword), "tests.life.test_schedules.late")

    first, second = (occurrence(job, "tests.life.test_schedules.late") for job in others[:2])
    assert {"given", "x"} == {*seen}
    assert first + 1 == second
    assert (("schedule:a",), '{"text":"given"}') == (jobs[0].tags, jobs[0].arguments)
    assert (-3, "mail") == (others[0].priority, others[0].queue)
    assert ("of the task", "schedule:tests.life.test_schedules.late") == others[0].tags
    assert all(0 <= job.created_at.timestamp() - occurrence(job, "a") < 60 for job in jobs)


@task(queue="mail", priority=-3, tags=["of the task"])
async def late(name: str) -> None:
    """A task with options."""
    seen.append(name)


async def test_three_schedulers_of_which_one_is_killed_again_and_again(
    tmp_path: Path, postgres_url: str
) -> None:
    """On both stores, no occurrence is missed and none comes twice."""
    urls = [f"sqlite:///{tmp_path / 'jobs.db'}", postgres_url]
    with contextlib.ExitStack() as stack:
        stores = [open_store(url) for url in urls]
        for store in stores:
            store.open()
            stack.callback(store.close)
        schedulers = [start("schedule", " ".join(urls)) for _ in range(3)]
        try:
            wait_until(lambda: all(_ticks(each) for each in stores), description="they tick")
            _kill_by_turns(schedulers, " ".join(urls), rounds=3)
            now = time.time()
            wait_until(
                lambda: all(_ticks(each)[-1] >= now for each in stores), description="they go on"
            )
        finally:
            for process in schedulers:
                end(process)
        found = [_ticks(each) for each in stores]

    for ticks in found:
        assert list(range(ticks[0], ticks[0] + len(ticks))) == ticks
        assert len(ticks) >= 6


def _ticks(store: Store) -> list[int]:
    return [occurrence(job, "ticks") for job in jobs_of(store, "ticks")]


def _kill_by_turns(schedulers: list[Process], urls: str, rounds: int) -> None:
    for number in range(rounds):
        time.sleep(1.5)
        end(schedulers.pop(0))
        if number < rounds - 1:
            schedulers.append(start("schedule", urls))


async def test_a_schedule_that_the_code_has_no_more_stops_and_its_jobs_stay(
    store_url: str,
) -> None:
    def declare(afterword: Afterword) -> None:
        afterword.every(seconds=1, name="a", args=["a"])(note)

    async with keeping(store_url, declare, queues=["other"]) as afterword:
        store = store_of(afterword)
        await wait_for(lambda: jobs_of(store, "a"), description="it has an occurrence")
    with script(store_url) as people:
        waiting = len(jobs_of(store_of(people), "a"))
        async with working(store_url) as afterword:
            await wait_for(lambda: len(seen) == waiting, description="its jobs have run")
            await asyncio_sleep_until(time.time() + 1.2)
            after = jobs_of(store_of(people), "a")

    assert [JobState.COMPLETED] * waiting == [job.state for job in after]


async def asyncio_sleep_until(at: float) -> None:
    """Wait for a time of day."""
    await wait_for(lambda: time.time() > at, description="time passes")


async def test_a_limit_holds_for_the_occurrences_too(file_url: str, ledger: Path) -> None:
    """Occurrences wait for each other if one takes longer than the interval."""

    def declare(afterword: Afterword) -> None:
        for number in range(3):
            afterword.every(seconds=1, name=f"{number}", args=[f"{number}", 0.2])(alone)

    async with keeping(file_url, declare):
        await wait_for(lambda: len(names(ledger, "end")) >= 4, description="they have run")

    assert 1 == most_at_once(ledger)


async def test_a_paused_schedule_makes_no_jobs(store_url: str) -> None:
    def declare(afterword: Afterword) -> None:
        afterword.every(seconds=1, name="a", args=["a"])(note)
        afterword.every(seconds=1, name="b", args=["b"])(note)

    async with keeping(store_url, declare) as afterword:
        store = store_of(afterword)
        store.pause_schedule("a", True)
        before, others = len(jobs_of(store, "a")), len(jobs_of(store, "b"))
        await wait_for(
            lambda: len(jobs_of(store, "b")) >= others + 2, description="the other one goes on"
        )
        between = len(jobs_of(store, "a")) - before
        store.pause_schedule("a", False)
        await wait_for(
            lambda: len(jobs_of(store, "a")) > before + between, description="it goes on"
        )

    assert between <= 1  # one may have been running


# ---------------------------------------------------------------------- what was missed


def half_an_hour_off() -> str:
    """Return a rule whose occurrences are half an hour from now."""
    return f"{(datetime.now(UTC).minute + 30) % 60} * * * *"


def move_back(url: str, name: str, hours: int) -> None:
    """Move the cursor back by some hours, as if no process had run."""
    store = open_store(url)
    with contextlib.closing(store):
        store.open()
        (found,) = [each for each in store.schedules() if each.name == name]
        cursor = found.next_at.timestamp()
        due = Due(name, cursor, time.time(), found.rule)
        store.advance(due, cursor - hours * 3600, None)


@pytest.mark.parametrize(("missed", "jobs"), [("skip", 0), ("one", 1), ("all", 5)])
async def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    missed: Any, jobs: int, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    rule = half_an_hour_off()

    def declare(afterword: Afterword) -> None:
        afterword.every(rule, name="a", missed=missed, args=["x"])(note)

    async with keeping(store_url, declare):
        pass
    move_back(store_url, "a", hours=5)
    async with keeping(store_url, declare) as afterword:
        store = store_of(afterword)
        await wait_for(
            lambda: next_at(store, "a").timestamp() > time.time(), description="it has caught up"
        )
        await wait_for(lambda: len(seen) == jobs, description="its jobs have run")
        found = [occurrence(job, "a") for job in jobs_of(store, "a")]

    newest = next_at_of(found, store_url)
    assert jobs == len(found)
    assert all(at % 3600 == newest % 3600 for at in found)
    assert found == [newest - 3600 * (jobs - 1 - number) for number in range(jobs)]
    assert f"missed schedule=a occurrences=5 policy={missed}" in caplog.text


def next_at_of(found: list[int], url: str) -> int:
    """Return the newest occurrence that was made up for: the one before the next."""
    store = open_store(url)
    with contextlib.closing(store):
        store.open()
        return int(next_at(store, "a").timestamp()) - 3600


async def test_there_is_a_limit_to_what_is_made_up_for(file_url: str) -> None:
    rule = half_an_hour_off()

    def declare(afterword: Afterword) -> None:
        afterword.every(rule, name="a", missed="all", limit=3, args=["x"])(note)

    async with keeping(file_url, declare):
        pass
    move_back(file_url, "a", hours=1000)
    async with keeping(file_url, declare) as afterword:
        await wait_for(lambda: len(seen) == 3, description="three have run")
        found = [occurrence(job, "a") for job in jobs_of(store_of(afterword), "a")]

    assert [3600, 3600] == [later - at for at, later in itertools.pairwise(found)]
    assert time.time() - found[-1] < 3600


async def test_a_changed_rule_starts_anew(store_url: str) -> None:
    """Occurrences that the old rule has missed are not made up for."""
    rule = half_an_hour_off()

    async with keeping(store_url, lambda it: it.every(rule, name="a", args=["x"])(note)):
        pass
    move_back(store_url, "a", hours=5)
    async with keeping(
        store_url, lambda it: it.every(seconds=86400, name="a", args=["y"], missed="all")(note)
    ) as afterword:
        store = store_of(afterword)
        await (await afterword.add_task(note, "other")).wait(60)
        (schedule,) = store.schedules()

    assert "every 86400 seconds" == schedule.rule
    assert schedule.next_at.timestamp() > time.time()
    assert ["other"] == seen


async def test_a_rule_that_comes_back_starts_anew(tmp_path: Path) -> None:
    """Its occurrences from the time when another rule was in force are not made up for."""
    clock = Stepped()
    store = SQLiteStore(tmp_path / "jobs.db", clock)
    store.open()

    def declare(rule: str) -> list[str]:
        declared = Declared(name="a", task="t", rule=rule, words="w", next_at=clock.now() + 3600)
        store.declare([declared])
        return [due.rule for due in store.due({"a": rule})]

    answers = [declare("old"), declare("new")]
    clock.seconds += 100_000.0
    answers += [declare("new"), declare("old")]
    store.close()

    assert [[], [], ["new"], []] == answers


# ---------------------------------------------------------------------- overlap


async def advanced(afterword: Afterword, name: str, by: int) -> None:
    """Wait until the schedule has dealt with so many more occurrences."""
    store = store_of(afterword)
    began = next_at(store, name)
    await wait_for(
        lambda: (next_at(store, name) - began).total_seconds() >= by,
        description=f"{by} occurrences have passed",
    )


@pytest.mark.parametrize("options", [{"overlap": "skip"}, {"unique": "one at a time"}])
async def test_an_occurrence_is_skipped_while_the_job_before_runs(
    store_url: str, options: dict[str, Any]
) -> None:
    def declare(afterword: Afterword) -> None:
        afterword.every(seconds=1, name="a", args=["x"], **options)(wait_at_gate)

    async with keeping(store_url, declare) as afterword:
        store = store_of(afterword)
        await wait_for(lambda: seen, description="the first one runs")
        await advanced(afterword, "a", 2)
        between = jobs_of(store, "a")
        gate.set()
        await wait_for(lambda: len(jobs_of(store, "a")) > 1, description="there is a next one")

    assert [JobState.RUNNING] == [job.state for job in between]


async def test_occurrences_queue_behind_each_other(store_url: str) -> None:
    def declare(afterword: Afterword) -> None:
        afterword.every(seconds=1, name="a", args=["x"], overlap="queue")(wait_at_gate)

    async with keeping(store_url, declare) as afterword:
        store = store_of(afterword)
        await wait_for(lambda: len(jobs_of(store, "a")) >= 3, description="three have come")
        between = list(seen)
        store.pause_schedule("a", True)
        gate.set()
        await wait_for(
            lambda: all(job.state is JobState.COMPLETED for job in jobs_of(store, "a")),
            description="all have run",
        )
        jobs = jobs_of(store, "a")

    assert ["x"] == between
    assert ["x", "x ends"] * len(jobs) == seen


async def test_an_overlap_that_cannot_be_is_refused(file_url: str) -> None:
    wrong: Any = "forbid"
    with pytest.raises(ConfigurationError, match="overlap"):
        async with keeping(file_url, lambda it: it.every(seconds=1, overlap=wrong)(note)):
            pass


class Stepped(Clock):
    """A clock that stands until it is moved."""

    seconds = 1_700_000_000.0

    def now(self) -> float:
        return self.seconds


# ---------------------------------------------------------------------- clocks


@pytest.mark.usefixtures("ids_of_another_time")
async def test_a_step_of_the_clock_starts_nothing_twice_and_stops_nothing(
    file_url: str,
) -> None:
    """It steps forward, back and forward while one job runs and another one waits."""

    def declare(afterword: Afterword) -> None:
        afterword.every(seconds=1, name="a", args=["a"])(note)

    async with keeping(file_url, declare) as afterword:
        store = store_of(afterword)
        running = await afterword.add_task(sleep_long, "running")
        waiting = await afterword.options(delay=1800).add_task(note, "waiting")
        await wait_for(lambda: "a" in seen, description="it ticks")
        with time_machine.travel(time.time() + 3600, tick=True):
            await waiting.wait(60)
            await _ticks_on(store)
        with time_machine.travel(time.time() - 3600, tick=True):
            before = len(jobs_of(store, "a"))
            await (await afterword.add_task(note, "past")).wait(60)
        # The clock is right again: the cursor is an hour ahead, and no occurrence comes twice.
        await (await afterword.add_task(note, "present")).wait(60)
        with time_machine.travel(time.time() + 7200, tick=True):
            await _ticks_on(store)
        found = [occurrence(job, "a") for job in jobs_of(store, "a")]
        await running.refresh()
        state, record = running.state, running.record
        await running.cancel()  # otherwise the shutdown would wait for it

    assert found == sorted({*found})
    assert before < len(found)
    assert len(found) == seen.count("a")
    assert 1 == seen.count("waiting")
    assert {"past", "present"} <= {*seen}
    assert record
    assert (JobState.RUNNING, 1, 0) == (state, record.attempt, record.lost)


async def _ticks_on(store: Store) -> None:
    """Wait for an occurrence after this moment, and until its jobs have run."""
    now = time.time()

    def goes_on() -> bool:
        jobs = jobs_of(store, "a")
        return jobs[-1].id > first_id(now) and all(job.state.final for job in jobs)

    await wait_for(goes_on, description="it goes on")


# ---------------------------------------------------------------------- what cannot be


def adds_numbers(one: int, other: int = 0) -> None:
    """A task with arguments."""


async def test_two_schedules_of_one_name_are_refused_at_start_up(file_url: str) -> None:
    afterword = Afterword(Starlette(), file_url)
    afterword.every(seconds=5, args=[1])(adds_numbers)
    afterword.every("* * * * *", args=[2])(adds_numbers)

    with pytest.raises(ConfigurationError, match="two are called 'tests"):
        await afterword.start()

    assert not afterword.started


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({}, ArgumentError, id="missing"),
        pytest.param({"args": ["one"]}, ArgumentError, id="wrong-type"),
        pytest.param({"args": [1], "kwargs": {"colour": 1}}, ArgumentError, id="unknown"),
        pytest.param({"args": [object()]}, TypeError, id="not-storable"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_at_start_up(
    options: dict[str, Any], error: type[Exception], file_url: str
) -> None:
    afterword = Afterword(Starlette(), file_url)
    afterword.every(seconds=5, **options)(adds_numbers)

    with pytest.raises(error, match=r"adds_numbers|argument"):
        await afterword.start()


async def test_a_function_that_nobody_would_find_is_refused_at_start_up(file_url: str) -> None:
    afterword = Afterword(Starlette(), file_url)

    @afterword.every(seconds=5)
    def inner() -> None: ...

    with pytest.raises(NotStorable, match="at the top of a module"):
        await afterword.start()


async def test_scripts_have_no_schedules(file_url: str) -> None:
    """Scripts do not run schedules; declaring one does no harm."""
    with script(file_url) as afterword:
        afterword.every(seconds=1)(note)
        job: Job[Any] = await afterword.add_task(note, "x")
        found = [each.id for each in store_of(afterword).find()]

    assert [job.id] == found


async def test_a_process_without_a_worker_has_schedules_too(store_url: str, ledger: Path) -> None:
    afterword = scheduling(store_url)
    await afterword.start()
    store = store_of(afterword)
    await wait_for(lambda: jobs_of(store, "ticks"), description="an occurrence has come")
    states = {job.state for job in jobs_of(store, "ticks")}
    await afterword.stop()

    assert {JobState.QUEUED} == states
    assert [] == names(ledger, "begin")
