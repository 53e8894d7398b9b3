"""The fixture `afterword_url`: jobs are in the tests' database, so that `bind` works."""

import os
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from afterword import Afterword
from afterword.errors import ConfigurationError
from afterword.fastapi import BackgroundTasks
from afterword.pytest_plugin import Jobs
from tests.under_plugin.shop import blocking, done

URL = os.environ["TEST_DATABASE"]
DRIVER = URL.replace("postgresql://", "postgresql+psycopg://").replace("+pysqlite", "")

app = FastAPI()
afterword = Afterword(app, url=URL.replace("test", "production"))


@pytest.fixture(scope="session")
def afterword_url() -> str:
    return URL


@app.post("/bound")
def bound(background_tasks: BackgroundTasks, number: int, commit: bool) -> None:
    engine = create_engine(DRIVER)
    with Session(engine) as session:
        background_tasks.bind(session).add_task(blocking, number)
        if commit:
            session.commit()
    engine.dispose()


@app.post("/plain")
def plain(background_tasks: BackgroundTasks, number: int) -> None:
    background_tasks.add_task(blocking, number)


@pytest.fixture
def client() -> Iterator[TestClient]:
    done.clear()
    with TestClient(app) as client:
        yield client


def test_jobs_of_a_transaction(client: TestClient, jobs: Jobs) -> None:
    client.post("/bound?number=1&commit=true")
    client.post("/bound?number=2&commit=false")

    assert 1 == len(jobs.added())
    jobs.run()
    assert [1] == done


def test_an_application_that_is_not_started(jobs: Jobs) -> None:
    done.clear()
    client = TestClient(app)
    client.post("/bound?number=4&commit=true")
    client.post("/plain?number=5")

    assert 2 == len(jobs.added(blocking))
    jobs.run()
    assert [4, 5] == done


def test_the_store_is_emptied(client: TestClient, jobs: Jobs) -> None:
    assert not jobs.added()


def test_requests_wait_for_such_jobs(client: TestClient) -> None:
    client.post("/bound?number=3&commit=true")

    assert [3] == done


def test_its_clock_cannot_be_moved(jobs: Jobs) -> None:
    with pytest.raises(ConfigurationError, match="afterword_url"):
        jobs.move_time(1)
