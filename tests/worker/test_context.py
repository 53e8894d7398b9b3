"""The task's view of its attempt, and completing it together with the task's effects."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette

from afterword import Afterword, Job, JobRecord, JobState, current_task
from afterword.client.operation import calling
from afterword.errors import AfterwordError, ConfigurationError, LostLease, NotInTask
from afterword.worker.context import TaskContext
from tests.at_work import at_work, ended, wait_for
from tests.dying import AFTER, BEFORE, complete_then_die, dying_process, tell
from tests.sites import note, noted
from tests.stores import new_file
from tests.visitors import KINDS, Database, completing

SQLITE3 = "sqlite-sqlite3"
SEEN: dict[str, Any] = {}  # values that the tests and their tasks exchange


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget values of earlier tests, and let workers look for lost jobs often."""
    monkeypatch.setattr("afterword.worker.worker.POLL_EVERY", 0.05)
    SEEN.clear()
    noted.clear()


# ---------------------------------------------------------------------- what a task knows


def look_sync() -> None:
    """Look, in a `def` task."""
    SEEN["context"] = current_task()


async def look_async() -> None:
    """Look, in an `async def` task, in a coroutine that it awaits, and in tasks that it starts."""
    SEEN["context"] = current_task()
    SEEN["child"] = await asyncio.create_task(_look())
    SEEN["thread"] = await asyncio.to_thread(current_task)


async def _look() -> TaskContext:
    return current_task()


@pytest.mark.parametrize("task", [look_sync, look_async])
@pytest.mark.anyio
async def test_a_task_knows_its_job(tmp_path: Path, task: Any) -> None:
    async with at_work(tmp_path) as afterword:
        job = await afterword.add_task(task)
        await ended(afterword, job)

    context = SEEN["context"]
    assert (job.id, job.task, 1) == (context.job_id, context.task, context.attempt)
    assert job.id == context.idempotency_key


@pytest.mark.anyio
async def test_what_a_task_starts_belongs_to_it(tmp_path: Path) -> None:
    async with at_work(tmp_path) as afterword:
        await ended(afterword, await afterword.add_task(look_async))

    assert SEEN["context"] is SEEN["child"]
    assert SEEN["context"] is SEEN["thread"]


def say_who(context: TaskContext) -> list[str]:
    """Log."""
    context.logger.warning("here", extra={"mine": 1})
    return [*context.tags, *(kind.__name__ for kind in context.provided)]


@pytest.mark.anyio
async def test_its_logger_says_which_attempt_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(tmp_path) as afterword:
        adding: Any = afterword.options(tags=["one", "two"])
        job = await adding.add_task(say_who)
        await job.wait(60)

    (said,) = [vars(each) for each in caplog.records if each.name == __name__]
    assert (job.id, job.task, "default", 1, 1) == (
        *(said["job_id"], said["task"], said["queue"]),
        *(said["attempt"], said["mine"]),
    )
    assert ["one", "two", "TaskContext", "Progress"] == job.result[:4]


async def say_then_complete() -> None:
    """Report progress, then complete in its own transaction."""
    current_task().progress.update(1, total=1)
    await complete()


@pytest.mark.anyio
async def test_what_was_said_before_a_completion_is_on_record(one_of_each: Database) -> None:
    async with working(one_of_each) as afterword:
        job = await afterword.add_task(say_then_complete)
        await ended(afterword, job)
        progress = (await job.refresh()).progress

    assert progress is not None
    assert (1, 1) == (progress.current, progress.total)


@pytest.mark.anyio
async def test_there_is_no_task_outside_of_one() -> None:
    with pytest.raises(NotInTask, match="no task runs here") as caught:
        current_task()

    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, AfterwordError)


# ---------------------------------------------------------------------- completing with the effects


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database for the store and its visitors, of each kind."""
    return _database(str(request.param), request, tmp_path)


@pytest.fixture(params=["sqlite-Session", "postgres-AsyncSession-asyncpg"])
def one_of_each(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database for a session that blocks, and for one that is awaited."""
    return _database(str(request.param), request, tmp_path)


def _database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if kind.startswith("postgres"):
        url = str(request.getfixturevalue("postgres_url"))
    else:
        url = new_file(tmp_path / "app.db", "pysqlite")
    SEEN["database"] = database = Database(url, kind)
    database.prepare()
    return database


@asynccontextmanager
async def working(database: Database, **options: Any) -> AsyncIterator[Afterword]:
    """Run an application on this database."""
    SEEN["afterword"] = afterword = Afterword(Starlette(), database.url, **options)
    await afterword.start()
    try:
        yield afterword
    finally:
        await afterword.stop()


async def complete() -> None:
    """Write the effect and complete in one transaction."""
    async with SEEN["database"].visit(begun=False) as visitor, completing(visitor):
        await visitor.note(f"attempt {current_task().attempt}")


async def raise_within() -> None:
    """Fail in the middle of the transaction."""
    async with SEEN["database"].visit(begun=False) as visitor, completing(visitor):
        await visitor.note("undone")
        raise ZeroDivisionError("within")


async def lose_within() -> None:
    """Lose the job to another worker during the first attempt."""
    context = current_task()
    async with SEEN["database"].visit(begun=False) as visitor:
        try:
            async with completing(visitor):
                if context.attempt == 1:
                    _lose(context)
                await visitor.note(f"attempt {context.attempt}")
        except LostLease as error:
            SEEN["error"] = error
            raise


def _lose(context: TaskContext) -> None:
    """Lose the job; the blocked event loop cannot cancel the attempt in between."""
    group = SEEN["afterword"].runtime.group
    group.run_blocking(calling(lambda store: store.leave(context._claim.worker)))
    group.run_blocking(calling(lambda store: store.recover(10, 0.5)))


@pytest.mark.anyio
async def test_effects_and_completion_are_one_transaction(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "afterword")
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(complete))
        await wait_for(lambda: "completed job=" in caplog.text, description="it is logged")

    assert (JobState.COMPLETED, 1) == (found.state, found.attempt)
    assert ["attempt 1"] == await database.effects()
    assert 1 == caplog.text.count("completed job=")
    assert "lost_lease" not in caplog.text


@pytest.mark.anyio
async def test_a_task_that_raises_within_leaves_no_effect(database: Database) -> None:
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(raise_within))

    assert JobState.FAILED is found.state
    assert "ZeroDivisionError: within" in str(found.error)
    assert [] == await database.effects()


@pytest.mark.anyio
async def test_an_attempt_that_has_lost_its_job_leaves_no_effect(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    # The worker must not notice it, and cancel the attempt, before the attempt ends.
    async with working(database, lease=3600.0) as afterword:
        job = await afterword.add_task(lose_within)
        await wait_for(lambda: "error" in SEEN, description="the attempt has ended")
        await afterword.runtime.group.run(calling(afterword.runtime.leases._renew), 60.0)
        found = await ended(afterword, job)
        await wait_for(lambda: "lost_lease" in caplog.text, description="it is logged")

    assert (JobState.COMPLETED, 2) == (found.state, found.attempt)
    assert ["attempt 2"] == await database.effects()
    assert "another worker has the job" in str(SEEN["error"])


async def complete_then_raise() -> None:
    """Fail after it has completed."""
    await complete()
    raise ZeroDivisionError("afterwards")


@pytest.mark.anyio
async def test_code_after_the_block_cannot_undo_the_completion(
    one_of_each: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(one_of_each) as afterword:
        job = await afterword.add_task(complete_then_raise)
        found = await ended(afterword, job)
        await wait_for(lambda: "failed_after_completion" in caplog.text, description="a warning")

    assert JobState.COMPLETED is found.state
    assert f"failed_after_completion job={job.id}" in caplog.text
    assert "ZeroDivisionError: afterwards" in caplog.text


async def complete_and_return() -> int:
    """Return a value, which comes after the job is recorded."""
    await complete()
    return 7


@pytest.mark.anyio
async def test_what_is_returned_after_the_completion_is_not_kept(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(_database("sqlite-Session", request, tmp_path)) as afterword:
        job = await afterword.add_task(complete_and_return)
        found = await ended(afterword, job)
        await wait_for(lambda: "result_not_kept" in caplog.text, description="a warning")

    assert (JobState.COMPLETED, None) == (found.state, found.result)
    assert "complete_in completed the job before the task returned" in caplog.text


async def complete_then_wait() -> None:
    """Go on after it has completed, until its follower has run."""
    await complete()
    await wait_for(lambda: noted, description="the follower runs meanwhile")
    SEEN["waited"] = True


@pytest.mark.anyio
async def test_followers_start_once_the_transaction_has_committed(one_of_each: Database) -> None:
    async with working(one_of_each) as afterword:
        async with one_of_each.visit() as visitor:
            binding: Any = afterword.bind(visitor.raw)
            binding.add_task(complete_then_wait)
            follower = binding.add_task(note, "follower")
            await visitor.commit()
        await ended(afterword, follower)
        await wait_for(lambda: SEEN.get("waited"), description="the first has seen it")

    assert ["follower"] == noted


async def complete_twice() -> None:
    """Complete twice, which is refused."""
    await complete()
    try:
        await complete()
    except LostLease as error:
        SEEN["error"] = error


@pytest.mark.anyio
async def test_an_attempt_completes_once(one_of_each: Database) -> None:
    async with working(one_of_each) as afterword:
        await ended(afterword, await afterword.add_task(complete_twice))
        await wait_for(lambda: "error" in SEEN, description="the second time is refused")

    assert "complete_in can be used once" in str(SEEN["error"])
    assert ["attempt 1"] == await one_of_each.effects()


class Broken(Session):
    """A session whose connection is cut while the answer to its COMMIT is on its way."""

    def commit(self) -> None:
        super().commit()
        raise ConnectionError("cut")


def complete_in_doubt() -> None:
    """Complete, without learning that the commit succeeded."""
    database: Database = SEEN["database"]
    engine = sqlalchemy.create_engine(database.engine_url)
    try:
        with Broken(engine) as session, current_task().complete_in(session):
            session.execute(sqlalchemy.text("INSERT INTO effects (name) VALUES ('once')"))
    finally:
        engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite-Session", "postgres-Session"])
@pytest.mark.anyio
async def test_the_fence_decides_when_a_commit_is_in_doubt(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = _database(kind, request, tmp_path)
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(complete_in_doubt))
        await wait_for(lambda: "lost_lease" in caplog.text, description="the failure is refused")

    assert (JobState.COMPLETED, 1) == (found.state, found.attempt)
    assert ["once"] == await database.effects()


async def complete_elsewhere() -> None:
    """Complete in the wrong database."""
    with pytest.raises(ConfigurationError) as caught:
        await complete()
    SEEN["error"] = caught.value


@pytest.mark.anyio
async def test_another_database_is_refused_before_the_work(tmp_path: Path) -> None:
    SEEN["database"] = database = Database(f"sqlite+pysqlite:///{tmp_path / 'other.db'}", SQLITE3)
    database.prepare()
    async with working(Database(f"sqlite+pysqlite:///{tmp_path / 'app.db'}", SQLITE3)) as afterword:
        found = await ended(afterword, await afterword.add_task(complete_elsewhere))

    assert JobState.COMPLETED is found.state
    assert str(tmp_path / "other.db") in str(SEEN["error"])
    assert [] == await database.effects()


def complete_in_autocommit() -> None:
    """Complete with an engine that never begins a transaction."""
    engine = sqlalchemy.create_engine(SEEN["database"].engine_url, isolation_level="AUTOCOMMIT")
    try:
        with Session(engine) as session, current_task().complete_in(session):
            raise AssertionError("the block is not entered")
    except ConfigurationError as error:
        SEEN["error"] = error
    finally:
        engine.dispose()


async def complete_in_transaction() -> None:
    """Complete in a block within a transaction that it cannot commit."""
    try:
        async with SEEN["database"].visit() as visitor, completing(visitor):
            raise AssertionError("the block is not entered")
    except ConfigurationError as error:
        SEEN["error"] = error


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        ("sqlite-Session", complete_in_autocommit, "AUTOCOMMIT"),
        ("postgres-Session", complete_in_autocommit, "AUTOCOMMIT"),
        ("postgres-asyncpg", complete_in_transaction, "# correct!"),
    ],
)
@pytest.mark.anyio
async def test_a_connection_that_cannot_commit_both_is_refused(
    kind: str, task: Any, message: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with working(_database(kind, request, tmp_path)) as afterword:
        found = await ended(afterword, await afterword.add_task(task))

    assert JobState.COMPLETED is found.state, found.error
    assert message in str(SEEN["error"])


def complete_in_joined(mode: str) -> None:
    """Complete in a session that joins its connection's transaction, which is then undone."""
    engine = sqlalchemy.create_engine(SEEN["database"].engine_url)
    insert = sqlalchemy.text("INSERT INTO effects (name) VALUES ('undone')")
    joining: Any = {} if mode in ("new", "used") else {"join_transaction_mode": mode}
    try:
        with engine.begin() as connection, Session(connection, **joining) as session:
            if mode == "used":
                session.execute(insert)
            with current_task().complete_in(session):
                session.execute(insert)
    except ConfigurationError as error:
        SEEN["error"] = error
        raise
    finally:
        engine.dispose()


async def complete_in_joined_async() -> None:
    """Complete in such an AsyncSession, which is used before."""
    engine = create_async_engine(SEEN["database"].engine_url)
    insert = sqlalchemy.text("INSERT INTO effects (name) VALUES ('undone')")
    try:
        async with engine.begin() as connection, AsyncSession(connection) as session:
            await session.execute(insert)
            async with current_task().complete_in(session):
                await session.execute(insert)
    except ConfigurationError as error:
        SEEN["error"] = error
        raise
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("kind", "task", "arguments"),
    [
        ("sqlite-Session", complete_in_joined, ["new"]),
        ("sqlite-Session", complete_in_joined, ["used"]),
        ("postgres-Session", complete_in_joined, ["new"]),
        ("postgres-Session", complete_in_joined, ["used"]),
        ("postgres-Session", complete_in_joined, ["create_savepoint"]),
        ("sqlite-AsyncSession", complete_in_joined_async, []),
        ("postgres-AsyncSession-asyncpg", complete_in_joined_async, []),
    ],
)
@pytest.mark.anyio
async def test_a_session_whose_commit_is_none_completes_nothing(
    kind: str, task: Any, arguments: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The job is not reported as completed, and does not run for ever."""
    database = _database(kind, request, tmp_path)
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(task, *arguments))

    assert JobState.FAILED is found.state
    assert "# correct!" in str(SEEN["error"])
    assert [] == await database.effects()


def complete_with_control() -> None:
    """Complete in a session that controls its connection's transaction, already begun."""
    engine = sqlalchemy.create_engine(SEEN["database"].engine_url)
    insert = sqlalchemy.text("INSERT INTO effects (name) VALUES ('done')")
    joining: Any = {"join_transaction_mode": "control_fully"}
    try:
        with engine.connect() as connection:
            connection.execute(insert)
            with Session(connection, **joining) as session, current_task().complete_in(session):
                session.execute(insert)
    finally:
        engine.dispose()


def complete_on_own_connection() -> None:
    """Complete in a session that begins the transaction on its given connection."""
    engine = sqlalchemy.create_engine(SEEN["database"].engine_url)
    insert = sqlalchemy.text("INSERT INTO effects (name) VALUES ('done')")
    try:
        with engine.connect() as connection, Session(connection) as session:
            session.execute(insert)
            with current_task().complete_in(session):
                session.execute(insert)
    finally:
        engine.dispose()


@pytest.mark.parametrize("task", [complete_with_control, complete_on_own_connection])
@pytest.mark.anyio
async def test_a_session_on_a_connection_may_commit_what_it_owns(
    task: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = _database("postgres-Session", request, tmp_path)
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(task))

    assert JobState.COMPLETED is found.state, found.error
    assert ["done", "done"] == await database.effects()


def complete_by_hand(mode: str) -> None:
    """Complete on a connection in autocommit mode: the block still has a transaction."""
    connection: Any
    if mode == "sqlite3":
        file = SEEN["database"].url.removeprefix("sqlite+pysqlite:///")
        connection = sqlite3.connect(file, isolation_level=None)
    else:
        connection = psycopg.connect(SEEN["database"].url, autocommit=True)
    with contextlib.closing(connection):
        with contextlib.suppress(ZeroDivisionError), current_task().complete_in(connection):
            connection.execute("INSERT INTO effects (name) VALUES ('undone')")
            raise ZeroDivisionError
        with current_task().complete_in(connection):
            connection.execute("INSERT INTO effects (name) VALUES ('done')")


@pytest.mark.parametrize(
    ("kind", "mode"), [("sqlite-sqlite3", "sqlite3"), ("postgres-psycopg", "psycopg")]
)
@pytest.mark.anyio
async def test_autocommit_connections_get_a_transaction(
    kind: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = _database(kind, request, tmp_path)
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(complete_by_hand, mode))

    assert JobState.COMPLETED is found.state, found.error
    assert ["done"] == await database.effects()


def complete_inside_begin() -> None:
    """Complete in a session's own `begin` block, as in SQLAlchemy's tutorial."""
    engine = sqlalchemy.create_engine(SEEN["database"].engine_url)
    try:
        with Session(engine) as session, session.begin():
            session.execute(sqlalchemy.text("INSERT INTO effects (name) VALUES ('before')"))
            with current_task().complete_in(session):
                session.execute(sqlalchemy.text("INSERT INTO effects (name) VALUES ('within')"))
    finally:
        engine.dispose()


@pytest.mark.anyio
async def test_a_block_may_end_the_transaction_of_a_session(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = _database("sqlite-Session", request, tmp_path)
    async with working(database) as afterword:
        found = await ended(afterword, await afterword.add_task(complete_inside_begin))

    assert JobState.COMPLETED is found.state, found.error
    assert ["before", "within"] == await database.effects()


def test_a_process_that_dies_leaves_its_effects_once(one_of_each: Database) -> None:
    """It dies before the first attempt's commit, and right after the second one's."""
    script = Afterword(None, one_of_each.url)
    job = script.add_task_sync(complete_then_die)
    script.close()
    with dying_process() as dying:
        statuses = [tell(dying, "complete", one_of_each) for _ in range(2)]
    (found,) = asyncio.run(_look_at(script, job))

    assert [f"{BEFORE}", f"{AFTER}"] == statuses
    assert (JobState.COMPLETED, 2) == (found.state, found.attempt)
    assert ["attempt 2"] == asyncio.run(one_of_each.effects())


async def _look_at(script: Afterword, job: Job[None]) -> list[JobRecord]:
    found = await script.job(job.id)
    script.close()
    return [found.record] if found and found.record else []
