"""Bindings that are used again: after a rollback, after the end, after a failure, and in parallel.

A binding's knowledge of its jobs always agrees with the database in that transaction.
"""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.applications import Starlette

from afterword import Afterword, JobState
from afterword.fastapi import BackgroundTasks
from tests.life.site import fail, note, seen
from tests.request.gates import records, request, started
from tests.stores import new_file
from tests.visitors import KINDS, SESSIONS, Database, add

pytestmark = pytest.mark.anyio


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the connection, and of its database."""
    return str(request.param)


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database for the store and its visitors."""
    if kind.startswith("postgres"):
        url = str(request.getfixturevalue("postgres_url"))
    else:
        url = new_file(tmp_path / "app.db", "pysqlite")
    database = Database(url, kind)
    database.prepare()
    return database


def application(database: Database, **options: Any) -> Afterword:
    """Run an application on the visitors' database."""
    return Afterword(Starlette(), database.url, **options)


# ---------------------------------------------------------------------- rolled back, ended


async def test_a_key_of_a_transaction_that_was_rolled_back_is_free(database: Database) -> None:
    """The same binding tries again, as after a deadlock."""
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            first = await add(binding.options(unique="k"), note, "1")
            await visitor.rollback()
            await visitor.begin()
            second = await add(binding.options(unique="k"), note, "2")
            await visitor.commit()
        (job,) = await records(afterword)

    assert (second.id, JobState.COMPLETED) == (job.id, job.state)
    assert first.id != second.id
    assert ["2"] == seen


async def test_a_key_of_a_job_that_has_ended_is_free(database: Database) -> None:
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            first = await add(binding.options(unique="k"), note, "1")
            await visitor.commit()
            await records(afterword)
            await visitor.begin()
            second = await add(binding.options(unique="k"), note, "2")
            await visitor.commit()
        jobs = await records(afterword)

    assert [first.id, second.id] == [job.id for job in jobs]
    assert ["1", "2"] == seen


async def test_a_key_of_a_savepoint_that_was_rolled_back_is_free(database: Database) -> None:
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            try:
                async with visitor.savepoint():
                    await add(binding.options(unique="k"), note, "1")
                    raise LookupError
            except LookupError:
                pass
            await add(binding.options(unique="k"), note, "2")
            await visitor.commit()
        (job,) = await records(afterword)

    assert JobState.COMPLETED is job.state
    assert ["2"] == seen


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "sqlite" in kind], indirect=True)
async def test_the_first_job_of_a_connection_waits_for_another_writer(
    database: Database, tmp_path: Path
) -> None:
    """SQLite refuses at once, despite the timeout, if the transaction has read before."""
    async with started(application(database)) as afterword:
        other = sqlite3.connect(tmp_path / "app.db", check_same_thread=False, isolation_level=None)
        async with database.visit() as visitor:
            other.execute("BEGIN IMMEDIATE")
            end = threading.Timer(0.3, other.execute, ["ROLLBACK"])
            end.start()
            async with visitor.savepoint():  # begins a transaction, if none has begun
                await add(afterword.bind(visitor.raw), note, "1")
            await visitor.commit()
        (job,) = await records(afterword)
        end.join()
        other.close()

    assert JobState.COMPLETED is job.state


async def test_of_one_transaction_and_key_there_is_one_job(database: Database) -> None:
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            handles = [await add(binding.options(unique="k"), note, "x") for _ in range(2)]
            other = await add(binding.options(unique="k"), note, "other")
            await visitor.commit()
        (job,) = await records(afterword)

    assert {job.id} == {each.id for each in (*handles, other)}
    assert ["x"] == seen


# ---------------------------------------------------------------------- the order, and failures


async def test_jobs_of_two_bindings_of_one_connection_are_in_order(
    database: Database, request: pytest.FixtureRequest
) -> None:
    """A failure in one stops the other's jobs, as with one binding."""
    if database.kind in ("sqlite-sqlite3", "postgres-asyncpg-pool"):
        reason = "such a connection cannot be referred to weakly: each binding is on its own"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            await add(afterword.bind(visitor.raw), fail, "A")
            await add(afterword.bind(visitor.raw), note, "D")
            await visitor.commit()
        jobs = await records(afterword)

    assert [JobState.FAILED, JobState.CANCELLED] == [job.state for job in jobs]
    assert ["A"] == seen


async def test_after_a_rollback_the_next_jobs_are_in_order(database: Database) -> None:
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            await add(binding, note, "rolled back")
            await visitor.rollback()
            await visitor.begin()
            await add(binding, fail, "A")
            await add(binding, note, "D")
            await visitor.commit()
        jobs = await records(afterword)

    assert [JobState.FAILED, JobState.CANCELLED] == [job.state for job in jobs]
    assert ["A"] == seen


async def test_after_a_failure_has_ended_the_next_job_runs(database: Database) -> None:
    """A failure stops jobs that were added before its end, not those of a later transaction."""
    async with started(application(database)) as afterword:
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            await add(binding, fail, "A")
            await visitor.commit()
            await records(afterword)
            await visitor.begin()
            await add(binding, note, "B")
            await visitor.commit()
        jobs = await records(afterword)

    assert [JobState.FAILED, JobState.COMPLETED] == [job.state for job in jobs]
    assert ["A", "B"] == seen


async def test_another_users_job_in_between_leaves_no_gap(database: Database) -> None:
    """The calls are A, an existing unique job, and D: D follows A."""
    async with started(application(database)) as afterword:
        there = await afterword.options(unique="k", delay=3600).add_task(note, "U")
        async with database.visit() as visitor:
            binding = afterword.bind(visitor.raw)
            await add(binding, fail, "A")
            found = await add(binding.options(unique="k", delay=3600), note, "U")
            await add(binding, note, "D")
            await visitor.commit()
        await there.cancel()
        jobs = await records(afterword)

    states = {job.arguments: job.state for job in jobs if job.id != there.id}
    assert there.id == found.id
    assert {'{"text":"A"}': JobState.FAILED, '{"text":"D"}': JobState.CANCELLED} == states


@pytest.mark.parametrize("kind", SESSIONS, indirect=True)
async def test_a_session_that_is_used_for_long_remembers_nothing_of_the_past(
    database: Database,
) -> None:
    async with started(application(database)) as afterword, database.visit() as visitor:
        for number in range(5):
            await add(afterword.bind(visitor.raw).options(unique="k"), note, f"{number}")
            await visitor.commit()
            await records(afterword)
            await visitor.begin()

    assert ["0", "1", "2", "3", "4"] == seen


# ---------------------------------------------------------------------- requests


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The application's own file."""
    file = tmp_path / "app.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE effects (name TEXT NOT NULL)")
    return file


KEY = [(b"idempotency-key", b"k")]


async def test_with_an_idempotency_key_what_was_rolled_back_counts_for_nothing(
    file: Path,
) -> None:
    """The transaction fails twice in the first request, and not in the second."""
    app = FastAPI()
    afterword = Afterword(app, f"sqlite+pysqlite:///{file}", idempotent=True)
    failures = [2, 0]

    @app.post("/")
    def route(background_tasks: BackgroundTasks) -> None:
        with closing(sqlite3.connect(file)) as connection:
            binding = background_tasks.bind(connection)
            for _ in range(failures.pop(0)):
                binding.add_task(note, "A")
                connection.rollback()
            for text in "AB":
                binding.add_task(note, text)
            connection.commit()

    async with started(afterword):
        for _ in range(2):
            await request(app, headers=KEY)
        jobs = await records(afterword)

    assert [JobState.COMPLETED] * 2 == [job.state for job in jobs]
    assert ["A", "B"] == seen


async def test_with_an_idempotency_key_bound_jobs_and_others_are_counted_apart(
    file: Path,
) -> None:
    """In any order, no call gets the key of another one."""
    app = FastAPI()
    afterword = Afterword(app, f"sqlite+pysqlite:///{file}", idempotent=True)

    @app.post("/")
    def route(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "plain 1")
        with closing(sqlite3.connect(file)) as connection:
            for number in range(2):
                background_tasks.bind(connection).add_task(note, f"bound {number}")
            connection.commit()
        background_tasks.add_task(note, "plain 2")

    async with started(afterword):
        for _ in range(2):
            await request(app, headers=KEY)
        jobs = await records(afterword)

    assert 4 == len(jobs)
    assert ["bound 0", "bound 1", "plain 1", "plain 2"] == sorted(seen)


async def test_two_sessions_of_one_request_are_one_request(file: Path) -> None:
    """Each has its own transaction: both are stored, and none waits for a missing job."""
    app = FastAPI()
    afterword = Afterword(app, f"sqlite+pysqlite:///{file}")
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")

    @app.post("/")
    def route(background_tasks: BackgroundTasks) -> None:
        with Session(engine) as session:
            background_tasks.bind(session).add_task(note, "rolled back")
            session.rollback()
            background_tasks.bind(session).add_task(note, "one")
            session.commit()
        with Session(engine) as session:
            background_tasks.bind(session).add_task(note, "two")
            session.commit()

    async with started(afterword):
        await request(app)
        jobs = await records(afterword)
    engine.dispose()

    assert 1 == len({job.request_id for job in jobs})
    assert ["one", "two"] == seen
