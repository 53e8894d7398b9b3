"""Transactions: your row and its job, or neither; and work that is done exactly once.

The store is in your own database: its URL names the same file, or the same PostgreSQL database.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from afterword import Afterword, JobState, current_task, task
from afterword.fastapi import BackgroundTasks


class Base(DeclarativeBase):
    """The tables of this application."""


class Order(Base):
    """A row that a request writes."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class Bill(Base):
    """A row that a task writes."""

    __tablename__ = "bills"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]


databases: list[Engine] = []


@pytest.fixture
def url(tmp_path: Path) -> str:
    """With `+pysqlite`, Afterword uses the same library for the file as SQLAlchemy does."""
    return f"sqlite+pysqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture(autouse=True)
def database(url: str) -> Iterator[Engine]:
    """The application's database, with its tables."""
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    databases.append(engine)
    yield engine
    databases.clear()
    engine.dispose()


def count(rows: type[Base], engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(rows)) or 0


@task(retries=1, backoff=0)
def bill(order_id: int) -> None:
    """Write the bill in the transaction that completes the job."""
    with Session(databases[0]) as session, current_task().complete_in(session):
        session.add(Bill(order_id=order_id))
        session.flush()
        if current_task().attempt == 1:
            raise ConnectionError("after the bill was written, and before the commit")


def add_route(app: FastAPI, database: Engine) -> None:
    @app.post("/orders")
    def order(background_tasks: BackgroundTasks, commit: bool = True) -> str:
        with Session(database) as session:
            new = Order()
            session.add(new)
            session.flush()  # gives the id
            job = background_tasks.bind(session).add_task(bill, new.id)
            if commit:
                session.commit()  # before the answer
        return job.id


def test_a_job_exists_if_the_transaction_commits(
    app: FastAPI, afterword: Afterword, database: Engine
) -> None:
    add_route(app, database)
    with TestClient(app) as client:
        job = afterword.job_sync(client.post("/orders").json())

    assert job is not None
    assert 1 == count(Order, database)


def test_neither_exists_if_it_rolls_back(
    app: FastAPI, afterword: Afterword, database: Engine
) -> None:
    add_route(app, database)
    with TestClient(app) as client:
        job = afterword.job_sync(client.post("/orders?commit=false").json())

    assert job is None
    assert 0 == count(Order, database)


def test_a_task_writes_exactly_once(app: FastAPI, afterword: Afterword, database: Engine) -> None:
    """Only the attempt that completes the job keeps its bill; others are rolled back."""
    with TestClient(app):
        job = afterword.add_task_sync(bill, 7).wait_sync(timeout=60)

    assert (JobState.COMPLETED, 2) == (job.state, job.attempt)
    assert 1 == count(Bill, database)
