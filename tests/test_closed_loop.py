"""Event loops that end without a stop, as in scripts and notebooks, and a second start."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette

from afterword import Afterword, Job, JobState, task
from tests.at_work import wait_for
from tests.helpers import wait_until
from tests.life.site import gate, note, note_async, script, seen, sleep_long, store_of, wait_at_gate

LEASE = 3600.0  # seconds; no test waits for its end


@pytest.fixture
def afterword(store_url: str) -> Iterator[Afterword]:
    """The Afterword of an application, which tests start themselves."""
    seen.clear()
    gate.clear()
    afterword = Afterword(Starlette(), store_url, lease=LEASE, grace=2.0, concurrency=2)
    yield afterword
    gate.set()
    asyncio.run(afterword.stop())
    afterword.close()


def run_without_stop(afterword: Afterword, func: Any, *args: Any, count: int = 1) -> list[Job[Any]]:
    """Start, add jobs, and end the event loop as soon as the first one runs."""

    async def main() -> list[Job[Any]]:
        await afterword.start()
        jobs = [await afterword.add_task(func, *args) for _ in range(count)]
        await wait_for(lambda: seen, description="the first one runs")
        return jobs

    return asyncio.run(main())


def run_again(afterword: Afterword, *jobs: Job[Any]) -> None:
    """Start in another event loop, and wait for these jobs and one more."""

    async def main() -> None:
        await afterword.start()
        for job in (*jobs, await afterword.add_task(note_async, "again")):
            await job.wait(60)
        await afterword.stop()

    asyncio.run(main())


def states(afterword: Afterword, jobs: list[Job[Any]]) -> list[JobState]:
    found = {each.id: each.state for each in store_of(afterword).get([job.id for job in jobs])}
    return [found[job.id] for job in jobs]


async def sleep_once(name: str) -> None:
    seen.append(name)
    if seen.count(name) == 1:
        await asyncio.sleep(60)


def test_what_the_end_of_the_loop_cuts_off_is_given_back(afterword: Afterword) -> None:
    jobs = run_without_stop(afterword, sleep_once, "slow")
    wait_until(lambda: states(afterword, jobs) == [JobState.QUEUED], description="it is given back")
    [before] = store_of(afterword).get([jobs[0].id])
    run_again(afterword, *jobs)

    assert (1, 0, 1) == (before.attempt, before.failures, before.interrupted)
    assert JobState.COMPLETED is jobs[0].state
    assert ["slow", "slow"] == [each for each in seen if each == "slow"]


def test_a_loop_that_is_closed_at_once_keeps_nothing_from_others(
    afterword: Afterword, store_url: str
) -> None:
    """The end of the loop cancels nothing, so no task notices it."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(afterword.start())
    with script(store_url) as other:
        jobs = [other.add_task_sync(note, "claimed")]
    wait_until(
        lambda: states(afterword, jobs) == [JobState.RUNNING],
        description="it is claimed while the loop stands still",
    )
    loop.close()
    wait_until(lambda: states(afterword, jobs) == [JobState.QUEUED], description="given back")

    assert [] == seen


def awaits_in_the_loop(name: str) -> Any:
    """A `def` task that returns an awaitable."""
    return sleep_once(name)


def test_a_def_task_that_awaits_in_the_loop_is_given_back(afterword: Afterword) -> None:
    jobs = run_without_stop(afterword, awaits_in_the_loop, "slow")
    run_again(afterword, *jobs)

    assert (JobState.COMPLETED, 2) == (jobs[0].state, jobs[0].attempt)


def test_jobs_that_had_not_started_are_left_to_others(afterword: Afterword) -> None:
    jobs = run_without_stop(afterword, sleep_long, "slow", count=20)
    wait_until(
        lambda: {*states(afterword, jobs)} == {JobState.QUEUED}, description="no process holds them"
    )


def test_a_thread_goes_on_and_its_outcome_counts(afterword: Afterword) -> None:
    """The job runs once, although there is another start meanwhile."""
    jobs = run_without_stop(afterword, wait_at_gate, "thread")
    run_again(afterword)
    between = states(afterword, jobs)
    gate.set()
    wait_until(
        lambda: states(afterword, jobs) == [JobState.COMPLETED], description="it is on record"
    )

    assert [JobState.RUNNING] == between
    assert ["thread", "again", "thread ends"] == seen


@task(executor="process")
def sleep_in_process(path: str) -> None:
    with open(path, "a") as file:  # noqa: PTH123
        file.write("began\n")
    time.sleep(60)


def test_a_process_is_killed_by_the_next_start_and_its_job_given_back(
    afterword: Afterword, tmp_path: Any
) -> None:
    began = tmp_path / "began"

    async def main() -> Job[Any]:
        await afterword.start()
        job = await afterword.add_task(sleep_in_process, str(began))
        await wait_for(began.exists, description="it runs")
        return job

    job = asyncio.run(main())

    async def again() -> None:
        await afterword.start()
        [found] = store_of(afterword).get([job.id])
        assert (0, 1) == (found.failures, found.interrupted)
        await job.cancel()
        await afterword.stop()

    asyncio.run(again())


def test_a_stop_in_another_loop_closes_the_store(afterword: Afterword) -> None:
    before = set(threading.enumerate())
    jobs = run_without_stop(afterword, sleep_long, "slow")
    started = {each.name for each in set(threading.enumerate()) - before}
    asyncio.run(afterword.stop())
    running = {each.name for each in set(threading.enumerate()) - before}

    assert not afterword.started
    assert "afterword-store" in started
    assert "afterword-store" not in running
    assert [JobState.QUEUED] == states(afterword, jobs)


def test_a_job_added_after_the_loop_was_closed_is_stored_for_others(afterword: Afterword) -> None:
    run_without_stop(afterword, note, "first")
    later = afterword.add_task_sync(note_async, "later")
    in_a_loop = asyncio.run(afterword.add_task(note_async, "in another loop"))
    wait_until(
        lambda: states(afterword, [later, in_a_loop]) == [JobState.QUEUED] * 2,
        description="no process holds them",
    )
    run_again(afterword, later, in_a_loop)

    assert ["first", "again"] == [each for each in seen if each in ("first", "again")]


def test_the_handlers_of_signals_are_put_back_once(afterword: Afterword) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_without_stop(afterword, note, "first")
    run_without_stop(afterword, note, "second")
    asyncio.run(afterword.stop())

    assert before == signal.getsignal(signal.SIGTERM)
