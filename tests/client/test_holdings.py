"""Jobs that this process runs according to the store, but that the process does not know."""

import asyncio
import logging

import pytest

from afterword import JobState
from afterword.client import holdings
from afterword.client.operation import adding, calling
from afterword.model.job import NewJob, new_id
from afterword.store.protocol import Store
from tests.at_work import record, store_jobs, wait_for
from tests.helpers import wait_until
from tests.life.site import gate, note, seen, store_of, wait_at_gate, working

pytestmark = pytest.mark.anyio

EVERY = 0.1  # seconds between two looks
NOTE = f"{note.__module__}:{note.__qualname__}"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "LOOKS", 30.0 / EVERY)  # of a lease
    seen.clear()
    gate.clear()


def a_job(text: str) -> NewJob:
    return NewJob(id=new_id(), task=NOTE, arguments=f'{{"text": "{text}"}}', held=True)


async def test_a_claim_of_which_nobody_knows_is_run_again(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(store_url) as afterword:
        worker = afterword.runtime.leases.worker

        def claim_and_forget(store: Store) -> int:
            store.add([a_job("lost")])
            return len(store.claim(worker, ["default"], 10))

        with caplog.at_level(logging.ERROR, "afterword"):
            forgotten = await asyncio.to_thread(
                afterword.runtime.group.run_blocking, calling(claim_and_forget)
            )
            await wait_for(lambda: seen, description="it has run")

    assert 1 == forgotten
    assert ["lost"] == seen
    assert "forgotten job=" in caplog.text


async def test_a_look_that_finds_the_job_of_a_dead_worker_says_recovered(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no fault of this process, so it is a warning as from any other look."""
    async with working(store_url) as afterword:
        look = holdings.recovering(afterword.runtime.leases, lambda failure: None)

        def lose_and_look(store: Store) -> None:
            store.join("gone", 60.0)
            store.add([a_job("lost")])
            store.claim("gone", ["default"], 10)
            store.leave("gone")
            look(store)

        with caplog.at_level(logging.WARNING, "afterword"):
            await asyncio.to_thread(afterword.runtime.group.run_blocking, calling(lose_and_look))
            await wait_for(lambda: seen, description="it has run")

    assert "recovered job=" in caplog.text
    assert "forgotten job=" not in caplog.text


async def test_a_job_whose_event_loop_ended_before_the_answer_is_run_again(store_url: str) -> None:
    async with working(store_url) as afterword:
        operation = adding([a_job("orphan")], afterword.runtime.leases.worker)
        operation.loop = asyncio.new_event_loop()
        operation.loop.close()
        afterword.runtime.group.submit(operation)
        del operation
        await wait_for(lambda: seen, description="it has run")

    assert ["orphan"] == seen


async def test_what_is_known_is_left_alone(store_url: str) -> None:
    """These run, are held by a request, or wait for a blocked event loop."""
    async with working(store_url) as afterword:
        looks: list[None] = []
        store = store_of(afterword)
        running = await afterword.add_task(wait_at_gate, "runs")
        [held] = await store_jobs(afterword, [a_job("held")])
        unanswered = adding([job := a_job("unanswered")], afterword.runtime.leases.worker)
        answer = asyncio.ensure_future(afterword.runtime.group.run(unanswered))
        await asyncio.sleep(0)
        wait_until(lambda: store.get([job.id]), description="it is stored, but the loop is blocked")
        afterword.runtime.group.every(EVERY, lambda store: looks.append(None))
        wait_until(lambda: len(looks) > 6, description="it has been looked for")
        found = store.get([running.id, held.id, job.id])
        await answer

    assert [(JobState.RUNNING, 1, 0)] * 3 == [
        (each.state, each.attempt, each.lost) for each in found
    ]
    assert ["runs"] == seen[:1]


async def test_a_job_that_is_forgotten_again_and_again_fails(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails like a job that kills its workers."""
    monkeypatch.setattr(holdings, "LOOKS", 3)
    async with working(store_url, lease=0.6, queues=["other"]) as afterword:
        worker, job = afterword.runtime.leases.worker, a_job("cursed")

        def claim_and_forget(store: Store) -> None:
            store.claim(worker, ["default"], 10)

        await asyncio.to_thread(
            afterword.runtime.group.run_blocking, calling(lambda store: store.add([job], None))
        )
        afterword.runtime.group.every(0.05, claim_and_forget)
        await wait_for(
            lambda: store_of(afterword).get([job.id])[0].state.final, description="it has failed"
        )
        after = await record(afterword, job)

    assert JobState.FAILED is after.state
    assert "poison" in (after.error or "")
