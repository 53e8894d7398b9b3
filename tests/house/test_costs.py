"""The cost of a job, counted instead of timed: a regression shows on any machine, even a busy one.

Statements for a batch, which must not depend on its number of jobs; transactions for a
backlog; calls of our own functions for a request and for an attempt. If a change makes one of
these numbers larger, know why; if it makes one smaller, lower the limit.
"""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterword import Afterword, JobState
from afterword.client.group_commit import GroupCommit
from afterword.client.inquiries import Inquiries
from afterword.fastapi import BackgroundTasks
from afterword.model.job import JobRecord, NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.opening import open_store
from afterword.store.postgres.session import TimedConnection
from afterword.store.protocol import Claim, Settlement, Store
from afterword.store.sqlite import SQLiteStore
from afterword.store.sqlite.adding import new_row
from afterword.store.sqlite.writer import sql
from tests.at_work import wait_for
from tests.life.site import script, store_of, working

pytestmark = pytest.mark.anyio

PACKAGE = str(Path(sys.modules["afterword"].__path__[0]))
WORKER = "0123456789abcdef"


async def nothing() -> None:
    """Do nothing, in the event loop."""


def nothing_in_a_thread() -> None:
    """Do nothing, in a thread."""


# ---------------------------------------------------------------------- statements


Count = Callable[[Callable[[], object]], int]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An open store with one worker."""
    store = open_store(store_url)
    store.open()
    store.join(WORKER, 60.0)
    yield store
    store.close()


@pytest.fixture
def count(store: Store, monkeypatch: pytest.MonkeyPatch) -> Count:
    """A function that counts the statements of the store's writing connection during a call."""
    counted = 0

    def one(*_: object) -> bool:
        nonlocal counted
        counted += 1
        return True

    if isinstance(store, SQLiteStore):
        store._writer.connection.exec_trace = one  # type: ignore[attr-defined]
    else:
        execute = TimedConnection.execute

        def traced(self: TimedConnection, *args: Any, **options: Any) -> Any:
            one()
            return execute(self, *args, **options)

        monkeypatch.setattr(TimedConnection, "execute", traced)

    def count(call: Callable[[], object]) -> int:
        before = counted
        call()
        return counted - before

    return count


def add(store: Store, jobs: int) -> None:
    store.add([NewJob(id=new_id(), task=f"{__name__}:nothing") for _ in range(jobs)])


def settle(store: Store, claims: Sequence[Claim]) -> None:
    store.settle([Settlement(claim, Completed()) for claim in claims])


@pytest.mark.parametrize("jobs", [1, 100])
def test_a_batch_of_claims_and_of_ends_takes_a_few_statements(
    store: Store, count: Count, jobs: int
) -> None:
    """It holds for any size; BEGIN, COMMIT and SQLite's `changes()` count, too."""
    add(store, jobs)
    claims: list[Claim] = []
    claiming = count(lambda: claims.extend(store.claim(WORKER, ["default"], jobs)))
    settling = count(lambda: settle(store, claims))

    assert jobs == len(claims)
    assert claiming <= 6
    assert settling <= 6


@pytest.mark.parametrize("jobs", [2, 100])
def test_a_batch_of_new_jobs_takes_a_few_statements(store: Store, count: Count, jobs: int) -> None:
    """It holds for any size, if no job has a unique key."""
    assert count(lambda: add(store, jobs)) <= 6


def test_adding_a_job_sets_up_no_sorter(tmp_path: Path) -> None:
    """SQLite would set one up in each execution, even without anything to sort."""
    sqlite = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    assert isinstance(sqlite, SQLiteStore)
    sqlite.open()
    row = new_row(NewJob(id=new_id(), task="app:send"), None, 0.0)
    connection = sqlite._writer.connection
    values = {"add": row, "add_all": {"jobs": "[]"}}
    plans = [connection.execute(f"EXPLAIN QUERY PLAN {sql(name)}", values[name]) for name in values]
    steps = [str(step[3]) for plan in plans for step in plan.fetchall()]
    sqlite.close()

    assert not [step for step in steps if "TEMP B-TREE" in step]


# ---------------------------------------------------------------------- transactions


@pytest.mark.parametrize("task", [nothing, nothing_in_a_thread])
async def test_a_backlog_takes_few_transactions(
    store_url: str, task: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that end while the store is busy are settled together, and as many are claimed."""
    jobs, transactions = 3_000, 0
    commit = GroupCommit._commit_together

    def counted(self: GroupCommit, batch: Sequence[Any]) -> None:
        nonlocal transactions
        transactions += bool(batch)
        commit(self, batch)

    monkeypatch.setattr(GroupCommit, "_commit_together", counted)
    with script(store_url) as afterword:
        name = f"{__name__}:{task.__name__}"
        store_of(afterword).add([NewJob(id=new_id(), task=name) for _ in range(jobs)])
    async with working(store_url) as afterword:
        store = store_of(afterword)
        await wait_for(lambda: store.count()[JobState.COMPLETED] == jobs, description="all ended")

    assert transactions < jobs / 10  # 20 to 90, more on a busy machine; one by one 6,000


# ---------------------------------------------------------------------- calls


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Count the calls of our own functions in this thread in the block, by name."""
    counted: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            counted[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def an_application() -> FastAPI:
    app = FastAPI()

    @app.get("/none")
    async def none() -> None:
        """Add nothing."""

    @app.get("/one")
    async def one(background_tasks: BackgroundTasks) -> None:
        """Add a task."""
        background_tasks.add_task(nothing)

    return app


@pytest.mark.parametrize(("path", "most"), [("/none", 10), ("/one", 183)])
async def test_a_request_takes_few_calls(
    tmp_path: Path, path: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count calls in the event loop's thread, from the request to the end of the attempt.

    If the machine pauses, the worker polls the store meanwhile, so the smallest count is used.
    """
    monkeypatch.delitem(sys.modules, "sentry_sdk", raising=False)  # another test may have loaded it
    app = an_application()
    afterword = Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}")
    transport = httpx.ASGITransport(app)
    await afterword.start()
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for _ in range(3):  # plans are compiled once
            await client.get(path)
            await asyncio.sleep(0.05)
        counts = []
        for _ in range(5):
            with calls() as counted:
                await client.get(path)
                await asyncio.sleep(0.05)
            counts.append(counted)
    await afterword.stop()

    counted = min(counts, key=Counter.total)
    assert counted.total() <= most, counted.most_common()


async def calls_of_a_request(app: FastAPI, path: str) -> int:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with calls() as counted:
            await client.get(path)
    return counted.total()


async def test_calls_that_run_in_their_request_cost_the_same_however_many(tmp_path: Path) -> None:
    app = FastAPI()
    afterword = Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}")

    @app.get("/{many}")
    async def many_calls(many: int, background_tasks: BackgroundTasks) -> None:
        for _ in range(many):
            background_tasks.add_task(lambda: None)

    await afterword.start()
    few, more = [await calls_of_a_request(app, f"/{many}") for many in (50, 500)]
    await afterword.stop()

    assert more < 11 * few


async def test_a_call_waits_for_each_job_before_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait again for jobs that an earlier call has waited for."""
    app = FastAPI()
    afterword = Afterword(app, f"sqlite:///{tmp_path / 'jobs.db'}")
    asked: list[Sequence[str]] = []
    records = Inquiries.records

    async def noted(self: Inquiries, ids: Sequence[str]) -> Sequence[JobRecord]:
        asked.append(ids)
        return await records(self, ids)

    monkeypatch.setattr(Inquiries, "records", noted)

    @app.get("/")
    async def one_of_each(background_tasks: BackgroundTasks) -> None:
        for _ in range(5):
            background_tasks.add_task(nothing)
            background_tasks.add_task(lambda: None)

    await afterword.start()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        await client.get("/")
    await afterword.stop()

    assert {1} == {len(ids) for ids in asked}
    assert 5 == len({tuple(ids) for ids in asked})


# ---------------------------------------------------------------------- memory


def test_a_worker_loads_nothing_of_the_other_commands() -> None:
    """A worker runs for weeks, and these took four of its sixty megabytes."""
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True
    ).stdout.split()

    assert [] == [name for name in loaded if name in ("rich", "afterword.cli.commands")]


LOAD = "import sys; from afterword.cli import _worker; _worker(); print(*sys.modules)"
