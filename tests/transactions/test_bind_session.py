"""AsyncSession: jobs are collected, and written with the commit, despite savepoints."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from afterword import Afterword
from afterword.fastapi import BackgroundTasks
from tests.sites import note

pytestmark = pytest.mark.anyio


class Base(DeclarativeBase):
    """The tables of these tests."""


class Thing(Base):
    """A row that the database can refuse."""

    __tablename__ = "things"

    name: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The application's own file."""
    return f"sqlite+pysqlite:///{tmp_path / 'app.db'}"


@pytest.fixture
async def session(url: str) -> AsyncIterator[AsyncSession]:
    """A session on it, without a transaction."""
    engine = create_async_engine(url.replace("pysqlite", "aiosqlite"))

    @event.listens_for(engine.sync_engine, "connect")
    def leave_transactions_to_us(connection: object, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN")  # type: ignore[attr-defined]

    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.fixture
def afterword(url: str) -> Iterator[Afterword]:
    """A script's Afterword, which runs no jobs."""
    afterword = Afterword(None, url)
    yield afterword
    afterword.close()


def notes(afterword: Afterword) -> list[str]:
    """Return the notes that the stored jobs would make."""
    return sorted(job.arguments for job in afterword.runtime.store.find())


def noting(*names: str) -> list[str]:
    """Return the notes that expected jobs would make."""
    return sorted(f'{{"text":"{name}"}}' for name in names)


async def test_nothing_is_written_before_the_commit(
    session: AsyncSession, afterword: Afterword
) -> None:
    afterword.bind(session).add_task(note, "job")
    rows = await session.execute(text("SELECT count(*) FROM afterword_jobs"))
    before = rows.scalar()
    await session.commit()

    assert 0 == before
    assert noting("job") == notes(afterword)


async def test_a_transaction_may_end_with_a_savepoint_open(
    session: AsyncSession, afterword: Afterword
) -> None:
    async with session.begin():
        afterword.bind(session).add_task(note, "outer")
        await session.begin_nested()
        afterword.bind(session).add_task(note, "inner")

    assert noting("outer", "inner") == notes(afterword)


async def test_a_flush_that_fails_takes_only_its_savepoint_along(
    session: AsyncSession, afterword: Afterword
) -> None:
    afterword.bind(session).add_task(note, "outer")
    session.add(Thing(name="same"))
    await session.flush()
    session.expunge_all()
    with suppress(IntegrityError):
        async with session.begin_nested():
            afterword.bind(session).add_task(note, "inner")
            session.add(Thing(name="same"))
    await session.commit()

    assert noting("outer") == notes(afterword)


async def test_a_released_savepoint_goes_with_the_one_around_it(
    session: AsyncSession, afterword: Afterword
) -> None:
    binding = afterword.bind(session)
    binding.add_task(note, "kept")
    with suppress(ZeroDivisionError):
        async with session.begin_nested():
            async with session.begin_nested():
                binding.add_task(note, "undone")
            raise ZeroDivisionError
    last = binding.add_task(note, "last")
    await session.commit()

    assert noting("kept", "last") == notes(afterword)
    [after] = [job.after for job in afterword.runtime.store.find() if job.id == last.id]
    assert {None, after} == {job.after for job in afterword.runtime.store.find()}


async def test_a_session_knows_its_jobs_once_however_often_it_is_bound(
    session: AsyncSession, afterword: Afterword
) -> None:
    for number in range(100):
        afterword.bind(session).add_task(note, str(number))
    await session.commit()

    assert 1 == len(session.info)
    assert 100 == len(notes(afterword))


async def test_jobs_of_a_session_that_is_closed_are_missed(
    session: AsyncSession, afterword: Afterword, caplog: pytest.LogCaptureFixture
) -> None:
    afterword.bind(session).add_task(note, "first")
    afterword.bind(session).add_task(note, "second")
    await session.close()

    assert [] == notes(afterword)
    assert "not_committed jobs=2" in caplog.text


async def test_jobs_of_a_session_that_is_rolled_back_are_not_missed(
    session: AsyncSession, afterword: Afterword, caplog: pytest.LogCaptureFixture
) -> None:
    afterword.bind(session).add_task(note, "job")
    await session.rollback()
    await session.close()

    assert "not_committed" not in caplog.text


async def test_jobs_of_a_flush_that_failed_are_not_missed(
    session: AsyncSession, afterword: Afterword, caplog: pytest.LogCaptureFixture
) -> None:
    session.add(Thing(name="same"))
    await session.commit()
    session.expunge_all()
    afterword.bind(session).add_task(note, "job")
    session.add(Thing(name="same"))
    with pytest.raises(IntegrityError):
        await session.commit()
    await session.rollback()
    await session.close()

    assert [] == notes(afterword)
    assert "not_committed" not in caplog.text


@pytest.mark.parametrize(("path", "warned"), [("/refused", False), ("/forgotten", True)])
async def test_a_request_that_is_refused_misses_no_jobs(
    session: AsyncSession, url: str, path: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An HTTPException after `bind` is normal; a forgotten commit is a mistake."""
    app = FastAPI()
    Afterword(app, url, worker=False)

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(session.bind) as opened:
            yield opened

    @app.get("/{path}")
    async def route(
        path: str,
        background_tasks: BackgroundTasks,
        opened: Annotated[AsyncSession, Depends(open_session)],
    ) -> None:
        background_tasks.bind(opened).add_task(note, "job")
        if path == "refused":
            raise HTTPException(409)

    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            await client.get(path)

    assert warned == ("not_committed jobs=1" in caplog.text)
