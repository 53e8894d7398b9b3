"""The worker: never more jobs than slots, none lost, and unknown ones left alone."""

import asyncio
import contextlib
import json
import logging
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.concurrency import run_in_threadpool

from afterword import Afterword, JobState, task, telemetry
from afterword.client.operation import calling
from afterword.errors import StoreUnavailable
from afterword.fastapi import BackgroundTasks
from afterword.model.job import NewJob, new_id
from afterword.request.intake import Order
from afterword.tasks import application
from afterword.tasks.policy import Why
from afterword.worker import worker
from tests.at_work import at_work, edit, ended, record, store_jobs, url_in, wait_for
from tests.helpers import wait_until

pytestmark = pytest.mark.anyio

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    ran.clear()
    gauge.__init__()  # type: ignore[misc]
    gate.clear()


# ---------------------------------------------------------------------- tasks


class Gauge:
    """A counter of attempts that run now, and of the most at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0
        self.total = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count an attempt during the block."""
        with self._lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)
        yield
        with self._lock:
            self.now -= 1


gauge = Gauge()
gate = threading.Event()


async def be_counted() -> None:
    with gauge.running():
        await asyncio.sleep(0.001)


def be_counted_sync() -> None:
    with gauge.running():
        time.sleep(0.001)


def note(text: str) -> None:
    ran.append(text)


async def note_async(text: str) -> None:
    ran.append(text)


def wait_at_gate(name: str) -> None:
    ran.append(name)
    gate.wait(60)


async def sleep_long(name: str) -> None:
    ran.append(name)
    await asyncio.sleep(60)


async def sleep_short(name: str) -> None:
    ran.append("started")
    await asyncio.sleep(0.3)
    ran.append(name)


async def refuse_to_stop(name: str) -> None:
    ran.append(name)
    while not gate.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            ran.append("not I")


def take(number: int) -> None:
    ran.append(number)


# ---------------------------------------------------------------------- slots


@pytest.mark.parametrize("task", [be_counted, be_counted_sync], ids=["async", "def"])
async def test_a_burst_never_runs_more_than_the_slots(task: Any, tmp_path: Path) -> None:
    """Offered jobs and claimed jobs race for the same slots."""
    async with at_work(tmp_path, concurrency=8) as afterword:
        for _ in range(10):
            await asyncio.gather(*(afterword.add_task(task) for _ in range(100)))
        await wait_for(lambda: gauge.total == 1000, description="1,000 jobs have run")

    assert 8 == gauge.most


@pytest.mark.parametrize("order", ["sequential", "concurrent"])
def test_requests_never_run_more_than_the_slots(order: Order, tmp_path: Path) -> None:
    app = FastAPI()
    Afterword(app, url_in(tmp_path), concurrency=3, order=order)

    @app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        for _ in range(10):
            background_tasks.add_task(be_counted)
            background_tasks.add_task(be_counted_sync)

    with TestClient(app) as client:
        for _ in range(20):
            client.post("/")
        wait_until(lambda: gauge.total == 400, description="400 jobs have run")

    assert gauge.most <= 3


async def test_a_burst_of_def_tasks_waits_in_the_store(tmp_path: Path) -> None:
    """It does not wait in a queue of threads: another process could take it."""
    async with at_work(tmp_path, concurrency=2) as afterword:
        for number in range(20):
            await afterword.add_task(wait_at_gate, f"{number}")
        await wait_for(
            lambda: afterword.runtime.store.count()[JobState.QUEUED] == 18, description="18 wait"
        )
        threads = [each for each in threading.enumerate() if "afterword-task" in each.name]
        running = len(ran)
        gate.set()
        await wait_for(lambda: len(ran) == 20, description="all have run")

    assert 2 == running
    assert len(threads) >= 2


async def test_blocked_def_tasks_leave_the_threads_of_endpoints_alone(tmp_path: Path) -> None:
    """There are more of them than the 40 threads that serve `def` endpoints."""
    async with at_work(tmp_path, concurrency=50) as afterword:
        for number in range(50):
            await afterword.add_task(wait_at_gate, f"{number}")
        await wait_for(lambda: len(ran) == 50, description="all have started")
        answer = await asyncio.wait_for(run_in_threadpool(lambda: "served"), 10)
        gate.set()

    assert "served" == answer


# ---------------------------------------------------------------------- the order of claims


def stored(
    afterword: Afterword, function: Callable[..., Any], argument: str, **options: Any
) -> NewJob:
    return NewJob(
        id=new_id(),
        task=f"{function.__module__}:{function.__qualname__}",
        arguments=json.dumps({"text": argument}),
        **options,
    )


async def test_claims_come_by_priority_then_due_time_then_id(tmp_path: Path) -> None:
    now = time.time()
    async with at_work(tmp_path, worker=False) as afterword:
        jobs = [
            stored(afterword, note_async, "3", run_at=now - 5),
            stored(afterword, note_async, "4", run_at=now - 5),
            stored(afterword, note_async, "2", run_at=now - 9),
            stored(afterword, note_async, "1", priority=-1),
            stored(afterword, note_async, "5", priority=7, run_at=now - 99),
            stored(afterword, note_async, "not yet", run_at=now + 3600),
        ]
        await store_jobs(afterword, jobs)
    async with at_work(tmp_path, concurrency=1) as afterword:
        await wait_for(lambda: len(ran) >= 5, description="the due jobs have run")
        future = await record(afterword, jobs[-1])

    assert ["1", "2", "3", "4", "5"] == ran
    assert JobState.QUEUED == future.state


# ---------------------------------------------------------------------- what it does not know


async def test_an_unknown_task_is_left_alone_until_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a rolling deploy, the old release must not fail jobs of the new one."""
    monkeypatch.setattr(worker, "UNKNOWN_FOR", 0.3)
    module = types.ModuleType("tomorrow")
    monkeypatch.setattr(application, "_packages", {"tests", "tomorrow"})
    application.is_own.cache_clear()
    job = NewJob(id=new_id(), task="tomorrow:work", arguments='{"text": "known"}')
    async with at_work(tmp_path, concurrency=1) as afterword:
        await store_jobs(afterword, [job])
        await wait_for(lambda: "put_back" in caplog.text, description="it has been put back")
        await ended(afterword, await afterword.add_task(note, "neighbour"))
        before = await record(afterword, job)
        source = f"from {__name__} import ran\ndef work(text): ran.append(text)"
        exec(source, module.__dict__)
        monkeypatch.setitem(sys.modules, "tomorrow", module)
        after = await ended(afterword, job)

    assert (JobState.QUEUED, 0) == (before.state, before.attempt)
    assert "No function of this application is called 'tomorrow:work'" in (before.error or "")
    assert before.parked_at is not None
    assert after.parked_at is None
    assert (JobState.COMPLETED, 1) == (after.state, after.attempt)
    assert ["neighbour", "known"] == ran


async def test_a_task_that_stays_unknown_is_asked_for_less_and_less_and_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "UNKNOWN_FOR", 0.05)
    caplog.set_level(logging.DEBUG, "afterword")
    job = NewJob(id=new_id(), task="tomorrow:work", arguments="{}")
    async with at_work(tmp_path) as afterword:
        await store_jobs(afterword, [job])
        await wait_for(lambda: caplog.text.count("put_back") >= 3, description="it is put back")
        assert afterword.runtime.worker is not None
        _, seconds = afterword.runtime.worker._unknown[job.task]
    levels = [each.levelno for each in caplog.records if "put_back" in each.getMessage()]

    assert seconds >= 4 * 0.05
    assert [logging.WARNING, logging.DEBUG, logging.DEBUG] == levels[:3]


async def test_the_jobs_of_one_claim_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "UNKNOWN_FOR", 20.0)
    jobs = [NewJob(id=new_id(), task="tomorrow:work", arguments="{}") for _ in range(2)]
    async with at_work(tmp_path) as afterword:
        await store_jobs(afterword, jobs)
        await wait_for(lambda: caplog.text.count("put_back") == 2, description="both are put back")
        assert afterword.runtime.worker is not None
        _, seconds = afterword.runtime.worker._unknown["tomorrow:work"]

    assert 20.0 == seconds


async def test_a_task_that_is_registered_later_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "UNKNOWN_FOR", 0.1)
    registered = sys.modules["afterword.tasks.registry"].__dict__["_registered"]
    monkeypatch.setitem(registered, "nothing:of-it", note)
    job = NewJob(id=new_id(), task="json:dumps", arguments='{"obj": 1}')
    async with at_work(tmp_path) as afterword:
        await store_jobs(afterword, [job])
        await wait_for(
            lambda: afterword.runtime.store.get([job.id])[0].error,
            description="it has been put back",
        )
        monkeypatch.setitem(registered, "json:dumps", json.dumps)
        task(json.dumps)
        after = await ended(afterword, job)

    assert JobState.COMPLETED == after.state


async def test_wrong_arguments_after_a_change_are_parked_with_a_reason(tmp_path: Path) -> None:
    job = NewJob(id=new_id(), task=f"{__name__}:take", arguments='{"name": "x"}')
    async with at_work(tmp_path, concurrency=1) as afterword:
        await store_jobs(afterword, [job])
        await wait_for(
            lambda: afterword.runtime.store.get([job.id])[0].error, description="it has been parked"
        )
        parked = await record(afterword, job)
        await ended(afterword, await afterword.add_task(note, "neighbour"))

    assert (JobState.QUEUED, 0) == (parked.state, parked.attempt)
    assert "The stored arguments do not fit take(number: int)" in (parked.error or "")
    assert 50 < (parked.run_at - parked.created_at).total_seconds() < 90
    assert ["neighbour"] == ran


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("tomorrow:never", "{}"), (f"{__name__}:take", '{"name": "x"}')],
    ids=["unknown", "wrong-arguments"],
)
async def test_what_nobody_could_run_for_a_week_fails(
    name: str, arguments: str, tmp_path: Path
) -> None:
    """The week begins when the first worker could not run it, across all workers and restarts."""
    job = NewJob(id=new_id(), task=name, arguments=arguments)
    async with at_work(tmp_path) as afterword:
        await store_jobs(afterword, [job])
        await parked(afterword, job)
    long_ago = "UPDATE afterword_jobs SET run_at = 0, parked_at = parked_at - ?"
    edit(tmp_path, long_ago, worker.PARK_LIMIT + 1)
    async with at_work(tmp_path) as afterword:
        after = await ended(afterword, job)

    assert JobState.FAILED == after.state
    assert after.error


async def parked(afterword: Afterword, job: NewJob) -> None:
    """Wait until a worker has released the job."""
    store = afterword.runtime.store
    await wait_for(lambda: store.get([job.id])[0].error, description="it has been put back")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("tomorrow:never", "{}"), (f"{__name__}:take", '{"name": "x"}')],
    ids=["unknown", "wrong-arguments"],
)
async def test_an_old_job_that_one_worker_cannot_run_is_left_to_others(
    name: str, arguments: str, tmp_path: Path
) -> None:
    """It waited for its time, its queue or its turn, and not for a worker with its task."""
    job = NewJob(id=new_id(), task=name, arguments=arguments)
    async with at_work(tmp_path, worker=False) as afterword:
        await store_jobs(afterword, [job])
    long_ago = "UPDATE afterword_jobs SET created_at = created_at - ?"
    edit(tmp_path, long_ago, 2 * worker.PARK_LIMIT)
    async with at_work(tmp_path) as afterword:
        await parked(afterword, job)
        after = await record(afterword, job)

    assert (JobState.QUEUED, 0) == (after.state, after.attempt)


# ---------------------------------------------------------------------- rows edited by hand

BY_HAND = {
    "bad-json": "UPDATE afterword_jobs SET arguments = '{bad'",
    "empty": "UPDATE afterword_jobs SET arguments = ''",
    "no-object": "UPDATE afterword_jobs SET arguments = '[1]'",
    "other-names": """UPDATE afterword_jobs SET arguments = '{"x": 1}'""",
    "nul": "UPDATE afterword_jobs SET arguments = '{' || char(0) || '}'",
    "deep": "UPDATE afterword_jobs SET arguments = printf('%.*c', 100000, '[')",
    "unknown-version": "UPDATE afterword_jobs SET task = 'v9!' || task",
    "no-name": "UPDATE afterword_jobs SET task = ''",
    "name-of-the-library": "UPDATE afterword_jobs SET task = 'shutil:rmtree'",
    "name-of-a-builtin": "UPDATE afterword_jobs SET task = 'builtins:exec'",
    "name-of-a-method": f"UPDATE afterword_jobs SET task = '{__name__}:gauge.running'",
    "name-with-newlines": "UPDATE afterword_jobs SET task = 'a' || char(10, 13, 27) || 'b:c'",
}


@pytest.mark.parametrize("statement", BY_HAND.values(), ids=BY_HAND)
async def test_a_row_edited_by_hand_is_put_back_with_a_reason(
    statement: str, tmp_path: Path
) -> None:
    async with at_work(tmp_path, worker=False) as afterword:
        job = await afterword.add_task(note, "edited")
    edit(tmp_path, statement)
    async with at_work(tmp_path, concurrency=1) as afterword:
        await wait_for(
            lambda: afterword.runtime.store.get([job.id])[0].error,
            description="it has been put back",
        )
        for text in ("first", "second"):
            await ended(afterword, await afterword.add_task(note, text))
        after = await record(afterword, job)

    assert (JobState.QUEUED, 0) == (after.state, after.attempt)
    assert ["first", "second"] == ran


UNREADABLE = {
    "unknown-state": "UPDATE afterword_jobs SET state = 'weird'",
    "running-for-nobody": "UPDATE afterword_jobs SET state = 'running', worker = NULL",
    "future-attempt": "UPDATE afterword_jobs SET attempt = 9000000000000000000",
    "due-never": "UPDATE afterword_jobs SET run_at = 1e300",
    "created-never": "UPDATE afterword_jobs SET created_at = -1e300",
    "waits-for-nothing": "UPDATE afterword_jobs SET after = 'nothing'",
    "negative-lease": "UPDATE afterword_jobs SET lost = -5, interrupted = -5",
    "not-utf-8": "UPDATE afterword_jobs SET arguments = CAST(x'7b22ff227d' AS TEXT)",
}


@pytest.mark.parametrize("statement", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_row_that_makes_no_sense_stops_nobody(statement: str, tmp_path: Path) -> None:
    async with at_work(tmp_path, worker=False) as afterword:
        await afterword.add_task(note, "edited")
    edit(tmp_path, statement)
    async with at_work(tmp_path, concurrency=1) as afterword:
        added = [await afterword.add_task(note, text) for text in ("first", "second")]
        for job in added:
            await ended(afterword, job)

    assert {"first", "second"} == {*ran} - {"edited"}


def test_the_database_refuses_bad_json_by_itself(tmp_path: Path) -> None:
    afterword = Afterword(url=url_in(tmp_path))
    afterword.add_task_sync(note, "x")
    afterword.close()

    with (
        contextlib.closing(apsw.Connection(str(tmp_path / "jobs.db"))) as connection,
        pytest.raises(apsw.ConstraintError),
    ):
        connection.execute("UPDATE afterword_jobs SET arguments = '{bad'")


# ---------------------------------------------------------------------- hostile argument types


class EvilText(Exception):
    """An error of a user's validator, whose text raises or cannot be stored."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Evil:
    """A type that validates itself, and raises in the worker."""

    armed = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls.read,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: "evil"),
        )

    @classmethod
    def read(cls, value: Any) -> "Evil":
        if cls.armed:
            raise EvilText
        return cls()


def take_evil(evil: Evil) -> None:
    ran.append(evil)


async def test_arguments_whose_reading_raises_are_parked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, worker=False) as afterword:
        job = await afterword.add_task(take_evil, Evil())
    monkeypatch.setattr(Evil, "armed", True)
    async with at_work(tmp_path, concurrency=1) as afterword:
        await wait_for(
            lambda: afterword.runtime.store.get([job.id])[0].error, description="it has been parked"
        )
        await ended(afterword, await afterword.add_task(note, "neighbour"))
        after = await record(afterword, job)

    assert JobState.QUEUED == after.state
    assert "EvilText" in (after.error or "")
    assert ["neighbour"] == ran


# ---------------------------------------------------------------------- settling


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep another connection in a write transaction."""
    with contextlib.closing(apsw.Connection(str(folder / "jobs.db"))) as other:
        other.set_busy_timeout(10_000)
        other.execute("BEGIN IMMEDIATE")
        yield


def unsettled(afterword: Afterword) -> int:
    """Count the outcomes that wait for the store."""
    return afterword.runtime.group._postponed.qsize()


async def test_an_outcome_waits_for_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process locks the file for longer than the store waits."""
    monkeypatch.setattr("afterword.store.sqlite.drivers.BUSY_TIMEOUT", 0.05)
    async with at_work(tmp_path, concurrency=1) as afterword:
        job = await afterword.add_task(wait_at_gate, "once")
        await wait_for(lambda: ran, description="the task has started")
        with locked(tmp_path):
            gate.set()
            await wait_for(lambda: unsettled(afterword), description="its outcome was refused")
            during = await record(afterword, job)
        after = await ended(afterword, job)
        await ended(afterword, await afterword.add_task(note, "the slot is free again"))

    assert (JobState.RUNNING, JobState.COMPLETED) == (during.state, after.state)
    assert (1, 0) == (after.attempt, after.lost)
    assert ["once", "the slot is free again"] == ran


async def test_a_job_without_a_free_slot_is_given_back_to_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releasing is retried until it works; otherwise this process would hold the job for ever."""
    monkeypatch.setattr("afterword.store.sqlite.drivers.BUSY_TIMEOUT", 0.05)
    async with at_work(tmp_path, concurrency=1) as afterword:
        await afterword.add_task(wait_at_gate, "slot")
        await wait_for(lambda: ran, description="the slot is taken")
        [claim] = await store_jobs(afterword, [stored(afterword, note, "held", held=True)])
        with locked(tmp_path):
            afterword.intake.release([claim], [])
            await wait_for(lambda: unsettled(afterword), description="it could not be given back")
        gate.set()
        await wait_for(lambda: len(ran) == 2, description="it has run")

    assert ["slot", "held"] == ran


async def test_a_claim_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [StoreUnavailable("away"), RuntimeError("unforeseen")]
    async with at_work(tmp_path) as afterword:
        store: Any = afterword.runtime.store
        claim = store.claim
        monkeypatch.setattr(
            store, "claim", lambda *args: raise_next(failures) if failures else claim(*args)
        )
        await wait_for(lambda: not failures, description="claims have failed")
        async with at_work(tmp_path, worker=False) as web:
            await web.add_task(note, "claimed")
            await wait_for(lambda: ran, description="the job has been claimed")

    assert ["claimed"] == ran


def raise_next(failures: list[Exception]) -> None:
    raise failures.pop(0)


# ---------------------------------------------------------------------- draining


async def test_a_drain_lets_attempts_end_within_the_grace_time(tmp_path: Path) -> None:
    async with at_work(tmp_path, grace=10) as afterword:
        job = await afterword.add_task(sleep_short, "finished")
        await wait_for(lambda: ran, description="it has started")
    async with at_work(tmp_path, worker=False) as afterword:
        after = await record(afterword, job)

    assert (JobState.COMPLETED, ["started", "finished"]) == (after.state, ran)


async def test_a_drain_gives_back_what_did_not_end(tmp_path: Path) -> None:
    async with at_work(tmp_path, grace=0) as afterword:
        jobs = [await afterword.add_task(sleep_long, f"{number}") for number in range(5)]
        await wait_for(lambda: len(ran) == 5, description="they have started")
    async with at_work(tmp_path, worker=False) as afterword:
        after = [await record(afterword, job) for job in jobs]

    assert [(JobState.QUEUED, 1, 0)] * 5 == [
        (each.state, each.interrupted, each.lost) for each in after
    ]


async def test_an_attempt_that_is_interrupted_before_its_first_step_is_given_back(
    tmp_path: Path,
) -> None:
    """Its coroutine never runs, so it cannot report it; its slot must become free."""
    async with at_work(tmp_path, concurrency=1) as afterword:
        [claim] = await store_jobs(afterword, [stored(afterword, note_async, "again", held=True)])
        running: Any = afterword.runtime.worker
        await wait_for(lambda: running._free == 1, description="the slot is free")
        running.offer([claim])
        running._runner.interrupt_all(Why.LOST, claim.worker)
        await wait_for(lambda: ran, description="it has run, later")
        [after] = afterword.runtime.store.get([claim.id])

    assert ["again"] == ran
    assert (2, 1) == (after.attempt, after.interrupted)


async def test_a_drain_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread, and a coroutine that swallows its cancellation: their leases expire."""
    monkeypatch.setattr(worker, "CANCEL_WITHIN", 0.1)
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    async with at_work(tmp_path, grace=0.1) as afterword:
        await afterword.add_task(wait_at_gate, "thread")
        await afterword.add_task(refuse_to_stop, "coroutine")
        await wait_for(lambda: len(ran) == 2, description="both have started")
    seconds = time.monotonic() - began
    gate.set()
    await wait_for(
        lambda: afterword.runtime.store.count()[JobState.RUNNING] == 0,
        description="both have ended",
    )
    afterword.runtime.leases.stop()
    afterword.close()

    assert seconds < 30  # the thread waits for 60
    assert "2 of its attempts still run" in caplog.text


async def test_an_application_starts_again_after_a_thread_outlived_it(tmp_path: Path) -> None:
    app = FastAPI()
    afterword = Afterword(app, url_in(tmp_path), grace=0)
    await afterword.start()
    await afterword.add_task(wait_at_gate, "thread")
    await wait_for(lambda: ran, description="it has started")
    await afterword.stop()
    await afterword.start()
    gate.set()
    await ended(afterword, await afterword.add_task(note, "again"))
    await afterword.stop()

    assert ["thread", "again"] == ran


# ---------------------------------------------------------------------- adding from a task

parents: list[Afterword] = []


async def add_child() -> None:
    ran.append("parent")
    await parents[0].add_task(note, "child")


def add_child_sync() -> None:
    ran.append("parent")
    parents[0].add_task_sync(note, "child")


@pytest.mark.parametrize("task", [add_child, add_child_sync], ids=["async", "def"])
async def test_a_task_adds_another_job(task: Any, tmp_path: Path) -> None:
    async with at_work(tmp_path, concurrency=1) as afterword:
        parents[:] = [afterword]
        await afterword.add_task(task)
        await wait_for(lambda: len(ran) == 2, description="both have run")

    assert ["parent", "child"] == ran


def test_the_logger_is_the_documented_one() -> None:
    assert "afterword" == telemetry.logger.name


# ---------------------------------------------------------------------- held by a test


async def test_a_claim_that_was_asked_for_before_it_was_held_takes_nothing(tmp_path: Path) -> None:
    """The pytest plugin holds the worker between two tests; its last claim may be still to come."""
    job = NewJob(id=new_id(), task=f"{__name__}:take", arguments='{"number":1}')
    async with at_work(tmp_path) as afterword:
        group, at_work_here = afterword.runtime.group, afterword.runtime.worker
        assert at_work_here is not None
        group.submit(calling(lambda store: gate.wait(60)))
        storing = asyncio.create_task(store_jobs(afterword, [job]))
        await asyncio.sleep(0)
        at_work_here.hold(False)  # asks for a claim
        at_work_here.hold(True)
        gate.set()
        await storing
        await group.run(calling(lambda store: None))

        assert JobState.QUEUED == (await record(afterword, job)).state
        assert [job.id] == await at_work_here.run_due(1)
    assert [1] == ran
