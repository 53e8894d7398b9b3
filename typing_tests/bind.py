"""Types of jobs in the user's own transaction. Checked, never run."""

import sqlite3
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, assert_type

import psycopg
import sqlalchemy
import sqlmodel
import sqlmodel.ext.asyncio.session
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from afterword import Afterword, Job, current_task
from afterword.fastapi import BackgroundTasks
from afterword.request.bind import AsyncBinding, Binding


def send(to: str, *, retries: int = 3) -> None: ...


def sessions(
    tasks: BackgroundTasks,
    session: Session,
    connection: sqlalchemy.Connection,
    model: sqlmodel.Session,
    driver: psycopg.Connection[Any],
    file: sqlite3.Connection,
) -> None:
    for each in (session, connection, model, driver, file):
        assert_type(tasks.bind(each), Binding)
    assert_type(tasks.bind(session).add_task(send, "a", retries=1), Job[None])
    assert_type(Afterword().bind(session), Binding)
    assert_type(current_task().complete_in(session), AbstractContextManager[None])
    tasks.bind(session).add_task(send, 1)  # type: ignore[call-overload]
    tasks.bind("sqlite:///app.db")  # type: ignore[call-overload]


async def awaited(
    tasks: BackgroundTasks,
    session: AsyncSession,
    model: sqlmodel.ext.asyncio.session.AsyncSession,
    connection: AsyncConnection,
    driver: psycopg.AsyncConnection[Any],
) -> None:
    assert_type(tasks.bind(session), Binding)
    assert_type(tasks.bind(model), Binding)
    assert_type(tasks.bind(connection), AsyncBinding)
    assert_type(tasks.bind(driver), AsyncBinding)
    assert_type(Afterword().bind(driver), AsyncBinding)
    assert_type(await tasks.bind(driver).add_task(send, "a"), Job[None])
    assert_type(current_task().complete_in(session), AbstractAsyncContextManager[None])
    assert_type(current_task().complete_in(driver), AbstractAsyncContextManager[None])
