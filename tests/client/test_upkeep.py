"""Upkeep: any process recovers lost jobs and deletes old history."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from afterword import JobState
from afterword.client import upkeep
from afterword.model.job import NewJob, new_id
from tests.at_work import at_work, edit, ended, record, store_jobs, wait_for

pytestmark = pytest.mark.anyio

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RECOVER_EVERY", 0.05)
    monkeypatch.setattr(upkeep, "PURGE_EVERY", 0.05)
    monkeypatch.setattr(upkeep, "FREE_EVERY", 0.05)
    monkeypatch.setattr(upkeep, "COUNT_EVERY", 0.05)
    ran.clear()


def note(text: str) -> None:
    ran.append(text)


async def test_history_is_purged_when_it_is_old_enough(tmp_path: Path) -> None:
    async with at_work(tmp_path, retention=3600) as afterword:
        old = await ended(afterword, await afterword.add_task(note, "old"))
        young = await afterword.add_task(note, "young")
        await ended(afterword, young)
        edit(
            tmp_path,
            "UPDATE afterword_history SET finished_at = finished_at - 3601 WHERE id = ?",
            old.id,
        )
        await wait_for(
            lambda: not afterword.runtime.store.get([old.id]), description="old is purged"
        )
        kept = await record(afterword, young)

    assert JobState.COMPLETED == kept.state


async def test_ended_jobs_are_counted(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        await ended(afterword, await afterword.add_task(note, "counted"))
        edit(tmp_path, "UPDATE afterword_history SET finished_at = finished_at - 120")
        await wait_for(
            lambda: (
                [each.jobs for each in afterword.runtime.store.counters(0) if each.counted] == [1]
            ),
            description="it is counted",
        )


async def test_unfinished_jobs_are_never_purged(tmp_path: Path) -> None:
    async with at_work(tmp_path, worker=False, retention=0) as afterword:
        job = await afterword.add_task(note, "waits")
        edit(tmp_path, "UPDATE afterword_jobs SET created_at = 0, run_at = 0")
        await asyncio.sleep(0.2)  # several purges
        after = await record(afterword, job)

    assert JobState.QUEUED == after.state


async def test_a_large_history_is_purged_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 10)
    purged: list[int] = []
    async with at_work(tmp_path) as afterword:
        jobs = [await afterword.add_task(note, f"{number}") for number in range(35)]
        for job in jobs:
            await ended(afterword, job)
        purge = afterword.runtime.store.purge

        def purge_and_count(retention: float, limit: int) -> int:
            purged.append(purge(retention, limit))
            return purged[-1]

        monkeypatch.setattr(afterword.runtime.store, "purge", purge_and_count)
        edit(tmp_path, "UPDATE afterword_history SET finished_at = 0")
        await wait_for(lambda: sum(purged) == 35, description="all are purged")

    assert 10 == max(purged)


async def test_a_job_that_waits_for_nothing_is_freed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It needs no restart."""
    async with at_work(tmp_path) as afterword:
        later = await afterword.options(delay=3600).add_task(note, "later")
        job = NewJob(
            id=new_id(), task=f"{__name__}:note", arguments='{"text":"it"}', after=later.id
        )
        await store_jobs(afterword, [job])
        edit(tmp_path, "DELETE FROM afterword_jobs WHERE id = ?", later.id)
        after = await ended(afterword, job)

    assert JobState.COMPLETED == after.state
    assert ["it"] == ran
    assert "freed: jobs waited for 1 that do not exist any more" in caplog.text


async def test_the_jobs_of_a_worker_that_is_gone_are_taken_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Any process does it, without a schedule or a leader."""
    async with at_work(tmp_path, worker=False) as afterword:
        job = await afterword.add_task(note, "lost")
    edit(tmp_path, "UPDATE afterword_jobs SET state = 'running', attempt = 1, worker = 'gone'")
    async with at_work(tmp_path) as afterword:
        after = await ended(afterword, job)

    assert (JobState.COMPLETED, 2, 1) == (after.state, after.attempt, after.lost)
    assert (
        f"recovered job={job.id} task={__name__}:note attempt=1 lost=1 state=queued" in caplog.text
    )


async def test_a_step_that_fails_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with at_work(tmp_path, worker=False) as afterword:
        job = await afterword.add_task(note, "lost")
    edit(tmp_path, "UPDATE afterword_jobs SET state = 'running', attempt = 1, worker = 'gone'")
    failures = [ValueError("unforeseen"), OSError("disk")]
    async with at_work(tmp_path, worker=False) as afterword:
        recover = afterword.runtime.store.recover

        def fail_first(limit: int, lease: float, *held: Any) -> Any:
            if failures:
                raise failures.pop()
            return recover(limit, lease, *held)

        monkeypatch.setattr(afterword.runtime.store, "recover", fail_first)
        edit(tmp_path, "UPDATE afterword_jobs SET state = 'running', attempt = 1, worker = 'gone'")
        await wait_for(lambda: not failures, description="both failures have happened")
        await wait_for(
            lambda: afterword.runtime.store.get([job.id])[0].state is JobState.QUEUED,
            description="the job has been taken back",
        )

    assert "step_failed: ValueError: unforeseen" in caplog.text
