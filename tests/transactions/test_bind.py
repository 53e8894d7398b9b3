"""Jobs in the user's own transaction: they exist if and only if it commits, with every session.

The test's own worker runs all the time, so a job that becomes visible too early is run, and the
test notices.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette

from afterword import Afterword, JobState
from afterword.errors import ConfigurationError
from tests.at_work import ended, record, wait_for
from tests.dying import AFTER, BEFORE, Process, dying_process, tell
from tests.sites import fail, note, noted
from tests.stores import new_file
from tests.visitors import KINDS, Database, Visitor, add

pytestmark = pytest.mark.anyio


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the connection, and of its database."""
    return str(request.param)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch polling off: a worker must be told of a job."""
    monkeypatch.setattr("afterword.worker.worker.POLL_EVERY", 3600.0)


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database for the store and its visitors."""
    noted.clear()
    if kind.startswith("postgres"):
        url = str(request.getfixturevalue("postgres_url"))
    else:
        url = new_file(tmp_path / "app.db", "pysqlite")
    database = Database(url, kind)
    database.prepare()
    return database


@asynccontextmanager
async def working(database: Database) -> AsyncIterator[Afterword]:
    """Run an application on this database."""
    afterword = Afterword(Starlette(), database.url)
    await afterword.start()
    try:
        yield afterword
    finally:
        await afterword.stop()


def states(afterword: Afterword) -> list[JobState]:
    """Return the states of the jobs in the order of adding."""
    return [job.state for job in sorted(afterword.runtime.store.find(), key=lambda job: job.id)]


async def none_left(afterword: Afterword) -> None:
    """Wait until a job that is added now has ended: earlier ones have then been seen, too."""
    await ended(afterword, await afterword.add_task(note, "last"))


async def test_a_job_exists_once_its_transaction_has_committed(database: Database) -> None:
    async with working(database) as afterword, database.visit() as visitor:
        await visitor.note("effect")
        job = await add(afterword.bind(visitor.raw), note, "task")
        before = await afterword.job(job.id)
        await visitor.commit()
        found = await ended(afterword, job)

    assert before is None
    assert (JobState.COMPLETED, 1) == (found.state, found.attempt)
    assert ["task"] == noted
    assert ["effect"] == await database.effects()


async def test_a_job_of_a_transaction_that_is_rolled_back_never_exists(database: Database) -> None:
    async with working(database) as afterword, database.visit() as visitor:
        await visitor.note("effect")
        job = await add(afterword.bind(visitor.raw), note, "task")
        await visitor.rollback()
        after = await afterword.job(job.id)
        await none_left(afterword)

    assert after is None
    assert ["last"] == noted
    assert [] == await database.effects()


async def test_a_job_goes_with_the_savepoint_it_was_added_in(database: Database) -> None:
    async with working(database) as afterword, database.visit() as visitor:
        await visitor.note("effect")
        binding = afterword.bind(visitor.raw)
        await add(binding, note, "before")
        with suppress(ZeroDivisionError):
            async with visitor.savepoint():
                await visitor.note("undone")
                await add(binding, note, "undone")
                raise ZeroDivisionError
        async with visitor.savepoint():
            await add(binding, note, "within")
        last = await add(binding, note, "after")
        await visitor.commit()
        await ended(afterword, last)
        await wait_for(lambda: len(noted) == 3, description="all have run")

    assert ["after", "before", "within"] == sorted(noted)
    assert ["effect"] == await database.effects()


async def test_a_second_transaction_of_a_binding_is_like_the_first(database: Database) -> None:
    async with working(database) as afterword, database.visit() as visitor:
        await visitor.note("first")
        binding = afterword.bind(visitor.raw)
        await add(binding, note, "undone")
        await visitor.rollback()
        await visitor.begin()
        await visitor.note("second")
        job = await add(binding, note, "done")
        await visitor.commit()
        await ended(afterword, job)

    assert ["done"] == noted
    assert ["second"] == await database.effects()


async def test_jobs_of_a_binding_run_in_order_and_stop_with_a_failure(database: Database) -> None:
    async with working(database) as afterword, database.visit() as visitor:
        binding = afterword.bind(visitor.raw)
        first = await add(binding, fail, "first")
        second = await add(binding, note, "second")
        await visitor.commit()
        await ended(afterword, second)
        found = states(afterword)
        after = await record(afterword, second)

    assert [JobState.FAILED, JobState.CANCELLED] == found
    assert ["first"] == noted
    assert (first.id, first.id) == (after.after, after.request_id)


async def test_a_connection_to_another_database_is_refused(
    database: Database, tmp_path: Path
) -> None:
    other = Afterword(None, f"sqlite+pysqlite:///{tmp_path / 'other.db'}")
    async with database.visit() as visitor:
        binding = other.bind(visitor.raw)
        with pytest.raises(ConfigurationError, match="lives in the same database") as caught:
            await _add_and_commit(binding, visitor)
    other.close()

    assert str(tmp_path / "other.db") in str(caught.value)


async def _add_and_commit(binding: object, visitor: Visitor) -> None:
    await add(binding, note, "task")
    await visitor.commit()


@pytest.fixture(scope="module")
def dying() -> Iterator[Process]:
    """A process whose children die."""
    with dying_process() as process:
        yield process


async def test_the_process_may_die_right_after_the_commit(
    database: Database, dying: Process
) -> None:
    """It has told neither client nor worker; another one dies before the commit."""
    statuses = tell(dying, "bind", database)
    assert f"{BEFORE} {AFTER}" == statuses

    async with working(database) as afterword:
        await wait_for(lambda: noted, description="another worker runs the job")
        await none_left(afterword)

    assert ["after", "last"] == noted
    assert ["after"] == await database.effects()
