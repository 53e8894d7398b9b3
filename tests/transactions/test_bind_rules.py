"""Rules of `bind`: accepted and refused connections, and jobs left to the request's transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

from afterword import Afterword, JobState
from afterword.errors import ArgumentError, ConfigurationError, NotInstalled, NotStorable
from afterword.fastapi import BackgroundTasks
from afterword.pytest_plugin.run import PytestRun
from afterword.starlette import BackgroundTasks as ByHand
from afterword.store.postgres.parameters import numbered, pyformat
from tests.helpers import wait_until
from tests.sites import fail, note, noted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The application's own file, with its own table."""
    noted.clear()
    file = tmp_path / "app.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE effects (name TEXT NOT NULL)")
    return file


@pytest.fixture
def afterword(file: Path) -> Iterator[Afterword]:
    """A script's Afterword, which runs no jobs."""
    afterword = Afterword(None, f"sqlite+pysqlite:///{file}")
    yield afterword
    afterword.close()


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the file."""
    with closing(sqlite3.connect(file)) as connection:
        yield connection


# ---------------------------------------------------------------------- what is refused


def test_what_is_no_connection_is_refused(afterword: Afterword) -> None:
    with pytest.raises(ConfigurationError) as caught:
        afterword.bind("sqlite:///app.db")  # type: ignore[call-overload]

    assert "SQLAlchemy's Session, AsyncSession" in str(caught.value)
    assert str(caught.value).endswith("but this is a builtins.str.")


def test_an_engine_is_no_connection(afterword: Afterword, file: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")

    with pytest.raises(ConfigurationError, match=r"but this is a sqlalchemy\.engine\.base\.Engine"):
        afterword.bind(engine)  # type: ignore[call-overload]


def test_a_store_in_a_file_of_its_own_is_refused(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    afterword = Afterword(None, f"sqlite:///{tmp_path / 'jobs.db'}")

    with pytest.raises(ConfigurationError, match=r'url="sqlite\+pysqlite:///app\.db"'):
        afterword.bind(connection)


def test_a_call_that_cannot_be_stored_is_refused(
    afterword: Afterword, connection: sqlite3.Connection
) -> None:
    with pytest.raises(NotStorable):
        afterword.bind(connection).add_task(lambda: None)


def test_arguments_that_do_not_fit_are_refused(
    afterword: Afterword, connection: sqlite3.Connection
) -> None:
    with pytest.raises(ArgumentError):
        afterword.bind(connection).add_task(note)  # type: ignore[call-overload]


def test_by_hand_there_is_no_request_to_bind_in(connection: sqlite3.Connection) -> None:
    with pytest.raises(NotInstalled, match=r"Afterword\.bind"):
        ByHand().bind(connection)


def test_a_password_is_not_shown(afterword: Afterword, postgres_url: str) -> None:
    url = sqlalchemy.make_url(postgres_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url.set(password="s3cret"))
    with engine.connect() as connection:
        binding = afterword.bind(connection)
        with pytest.raises(ConfigurationError) as caught:
            binding.add_task(note, "x")
    engine.dispose()

    assert f":***@{url.host}" in str(caught.value)


# ---------------------------------------------------------------------- autocommit


def test_in_autocommit_mode_a_job_exists_at_once(afterword: Afterword, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        job = afterword.bind(connection).add_task(note, "x")

        assert [job.id] == [each.id for each in afterword.runtime.store.find()]
        assert not connection.in_transaction


def test_psycopg_in_autocommit_mode_adds_at_once(postgres_url: str) -> None:
    afterword = Afterword(None, postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        job = afterword.bind(connection).add_task(note, "x")

        assert [job.id] == [each.id for each in afterword.runtime.store.find()]
    afterword.close()


@pytest.mark.anyio
async def test_asyncpg_without_a_transaction_adds_at_once(postgres_url: str) -> None:
    afterword = Afterword(None, postgres_url)
    connection = await asyncpg.connect(postgres_url)
    job = await afterword.bind(connection).add_task(note, "x")
    await connection.close()

    assert [job.id] == [each.id for each in afterword.runtime.store.find()]
    afterword.close()


def test_the_row_factories_of_a_connection_are_the_users(
    afterword: Afterword, connection: sqlite3.Connection
) -> None:
    connection.row_factory = sqlite3.Row
    afterword.bind(connection).add_task(note, "x")
    connection.commit()

    assert 1 == len(afterword.runtime.store.find())
    assert connection.row_factory is sqlite3.Row


# ---------------------------------------------------------------------- in a request


@pytest.fixture
def app(file: Path) -> FastAPI:
    """An application with one route, which does what the test says."""
    app = FastAPI()

    @app.post("/{how}")
    def add(how: str, background_tasks: BackgroundTasks) -> None:
        with closing(sqlite3.connect(file)) as connection:
            binding = background_tasks.bind(connection)
            binding.add_task(fail if how == "failing" else note, "first")
            binding.add_task(note, "second")
            if how != "forgotten":
                connection.commit()
        background_tasks.add_task(note, "plain")
        if how == "refused":
            raise HTTPException(409)

    return app


def _sent(app: FastAPI, file: Path, how: str, **options: Any) -> list[tuple[str, JobState]]:
    """Send a request; returns the states of its jobs in the order of adding."""
    afterword = Afterword(app, f"sqlite+pysqlite:///{file}", **options)
    with TestClient(app) as client:
        client.post(f"/{how}")
        wait_until(
            lambda: all(job.state.final for job in afterword.runtime.store.find()),
            description="every job has ended",
        )
        jobs = sorted(afterword.runtime.store.find(), key=lambda job: job.id)

    assert len({job.request_id for job in jobs}) <= 1
    return [(job.arguments, job.state) for job in jobs]


FIRST, SECOND, PLAIN = (f'{{"text":"{name}"}}' for name in ("first", "second", "plain"))


def test_jobs_of_a_request_are_one_request(app: FastAPI, file: Path) -> None:
    sent = _sent(app, file, "committed")

    assert [FIRST, SECOND, PLAIN] == [arguments for arguments, _ in sent]
    assert noted.index("first") < noted.index("second")


def test_what_is_not_committed_does_not_exist(app: FastAPI, file: Path) -> None:
    assert [(PLAIN, JobState.COMPLETED)] == _sent(app, file, "forgotten")


def test_what_is_committed_exists_whatever_the_handler_does(app: FastAPI, file: Path) -> None:
    sent = _sent(app, file, "refused")

    assert [(FIRST, JobState.COMPLETED), (SECOND, JobState.COMPLETED)] == sent


def test_a_failure_stops_the_later_jobs_of_its_binding(app: FastAPI, file: Path) -> None:
    sent = _sent(app, file, "failing")

    assert [JobState.FAILED, JobState.CANCELLED, JobState.COMPLETED] == [state for _, state in sent]


def test_bound_jobs_may_be_independent(app: FastAPI, file: Path) -> None:
    sent = _sent(app, file, "failing", order="concurrent")

    assert (SECOND, JobState.COMPLETED) in sent


def test_an_application_that_was_not_started_stores_all_the_same(app: FastAPI, file: Path) -> None:
    """There is no worker yet, but the transaction stores its jobs."""
    afterword = Afterword(app, f"sqlite+pysqlite:///{file}")
    TestClient(app).post("/committed")
    jobs = sorted(afterword.runtime.store.find(), key=lambda job: job.id)
    afterword.close()

    assert [FIRST, SECOND] == [job.arguments for job in jobs]
    assert ["plain"] == noted  # in its request, as with FastAPI


def test_under_the_pytest_plugin_the_request_waits_for_bound_jobs(
    app: FastAPI, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PytestRun(tmp_path)
    run.use_url(f"sqlite+pysqlite:///{file}")
    monkeypatch.setattr(Afterword, "test_run", run)
    Afterword(app, f"sqlite+pysqlite:///{file}")
    with TestClient(app) as client:
        client.post("/committed")
        seen = sorted(noted)

    assert ["first", "plain", "second"] == seen


def test_workers_are_told_at_the_end_of_the_request(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is for connections that do not report their commit; the transaction has no NOTIFY."""
    monkeypatch.setattr("afterword.worker.worker.POLL_EVERY", 3600.0)
    noted.clear()
    app = FastAPI()
    Afterword(app, postgres_url)

    @app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        with psycopg.connect(postgres_url) as connection:
            background_tasks.bind(connection).add_task(note, "x")

    with TestClient(app) as client:
        client.post("/")
        wait_until(lambda: noted, description="the job has run")

    assert ["x"] == noted


# ---------------------------------------------------------------------- parameters


def test_casts_are_no_parameters() -> None:
    assert "SELECT %(a)s::int, '{}'::json" == pyformat("SELECT :a::int, '{}'::json")


def test_a_parameter_has_one_number() -> None:
    assert ("SELECT $1::int, $2, $1", ("a", "b")) == numbered("SELECT :a::int, :b, :a")
