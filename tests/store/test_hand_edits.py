"""Rows that were edited by hand: no loop ends, and every job can be reached."""

import asyncio
from pathlib import Path

from afterword import JobState
from afterword.model.job import NewJob, new_id
from afterword.store.sqlite import SQLiteStore
from tests.at_work import at_work, edit, ended, url_in

ran: list[int] = []


def note(number: int) -> None:
    ran.append(number)


def store_jobs(folder: Path, *jobs: NewJob) -> None:
    """Put jobs into a store that no process serves yet."""
    store = SQLiteStore.from_url(url_in(folder))
    store.open()
    store.add(jobs)
    store.close()


def job(number: int, after: str | None = None) -> NewJob:
    return NewJob(
        id=new_id(), task=f"{__name__}:note", arguments=f'{{"number":{number}}}', after=after
    )


async def run_all(folder: Path, *jobs: NewJob) -> list[JobState]:
    """Start an application on the store and wait for these jobs."""
    ran.clear()
    async with at_work(folder) as afterword:
        return [(await ended(afterword, each)).state for each in jobs]


def test_an_unknown_state_is_shown_and_hides_nothing(tmp_path: Path) -> None:
    """The job counts as failed, and its record says why."""
    odd, sound = job(1), job(2)
    store_jobs(tmp_path, odd, sound)
    edit(tmp_path, "UPDATE afterword_jobs SET state = 'weird' WHERE id = ?", odd.id)

    states = asyncio.run(run_all(tmp_path, sound))
    store = SQLiteStore.from_url(url_in(tmp_path))
    store.open()
    (record,) = store.get([odd.id])

    assert [JobState.COMPLETED] == states
    assert JobState.FAILED is record.state
    assert "the store holds an unknown state: 'weird'" == record.error
    assert {odd.id, sound.id} == {each.id for each in store.find()}
    assert 1 == store.count()[JobState.FAILED]
    store.close()


def test_a_running_job_of_nobody_is_recovered(tmp_path: Path) -> None:
    odd = job(1)
    store_jobs(tmp_path, odd)
    edit(tmp_path, "UPDATE afterword_jobs SET state = 'running', attempt = 1, worker = NULL")

    assert [JobState.COMPLETED] == asyncio.run(run_all(tmp_path, odd))
    assert [1] == ran


def test_a_job_behind_one_that_is_gone_runs_after_the_next_start(tmp_path: Path) -> None:
    first = job(1)
    second = job(2, after=first.id)
    store_jobs(tmp_path, first, second)
    edit(tmp_path, "DELETE FROM afterword_jobs WHERE id = ?", first.id)

    assert [JobState.COMPLETED] == asyncio.run(run_all(tmp_path, second))
    assert [2] == ran


def test_text_that_is_no_text_can_be_looked_at(tmp_path: Path) -> None:
    odd, sound = job(1), job(2)
    store_jobs(tmp_path, odd, sound)
    edit(
        tmp_path,
        "UPDATE afterword_jobs SET arguments = CAST(x'7bff7d' AS TEXT) WHERE id = ?",
        odd.id,
    )

    states = asyncio.run(run_all(tmp_path, sound))
    store = SQLiteStore.from_url(url_in(tmp_path))
    store.open()
    (record,) = store.get([odd.id])
    store.close()

    assert [JobState.COMPLETED] == states
    assert JobState.QUEUED is record.state
    assert "{\ufffd}" == record.arguments
