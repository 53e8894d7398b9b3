"""`Afterword(log_lines=...)`: the last lines that loggers wrote during an attempt."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from afterword import Afterword, current_task, task
from afterword.errors import ConfigurationError
from tests.at_work import ended
from tests.worker.test_redact import without_secret

pytestmark = pytest.mark.anyio
logger = logging.getLogger("app.mail")


def write(what: str) -> None:
    logger.warning("from %s", what)
    current_task().logger.error("of the task")


async def write_async(what: str) -> None:
    write(what)
    await asyncio.sleep(0)
    await asyncio.to_thread(logger.warning, "in a thread with its context")


@task(executor="process")
def write_in_process(what: str) -> None:
    write(what)


@task(executor="process", retries=0)
def crash(what: str) -> None:
    write(what)
    os._exit(7)


@task(retries=1, backoff=0)
def write_twice() -> None:
    logger.warning("attempt %d", current_task().attempt)
    if current_task().attempt == 1:
        raise ConnectionError("no")


def write_much(lines: int) -> None:
    for number in range(lines):
        logger.warning("line %d", number)


def write_badly() -> None:
    logger.warning("number %d", "no number")
    logger.warning("\0 \ud800 s3cret")


def keep_quiet() -> None:
    logger.debug("below the level")


def complete_with(path: str) -> None:
    logger.warning("before")
    with sqlite3.connect(path) as connection:
        connection.execute("BEGIN")
        with current_task().complete_in(connection):
            logger.warning("within")


async def logs_of(tmp_path: Path, func: Any, *args: object, **options: Any) -> Mapping[int, str]:
    """Run a task, and return the logs of its attempts."""
    url = f"sqlite+pysqlite:///{tmp_path / 'jobs.db'}"
    given = {"log_lines": 100, "redact": without_secret, **options}
    afterword = Afterword(Starlette(), url, **given)
    await afterword.start()
    try:
        job = await afterword.add_task(func, *args)
        await ended(afterword, job)
        return afterword.runtime.store.logs(job.id)
    finally:
        await afterword.stop()


@pytest.mark.parametrize("func", [write, write_async, write_in_process, crash])
async def test_lines_of_all_loggers_are_kept(func: object, tmp_path: Path) -> None:
    lines = (await logs_of(tmp_path, func, "s3cret"))[1].splitlines()

    assert lines[0].endswith("Z WARNING app.mail: from ***")
    assert lines[1].endswith("ERROR tests.worker.test_attempt_log: of the task")
    if func is write_async:
        assert lines[2].endswith("in a thread with its context")


async def test_each_attempt_has_a_log_of_its_own(tmp_path: Path) -> None:
    logs = await logs_of(tmp_path, write_twice)

    assert [1, 2] == sorted(logs)
    assert logs[1].endswith("attempt 1")
    assert logs[2].endswith("attempt 2")


async def test_the_last_lines_are_kept(tmp_path: Path) -> None:
    first, *rest = (await logs_of(tmp_path, write_much, 10, log_lines=3))[1].splitlines()

    assert "... 7 earlier lines left out ..." == first
    assert ["line 7", "line 8", "line 9"] == [line[-6:] for line in rest]


async def test_a_long_log_is_cut(tmp_path: Path) -> None:
    text = (await logs_of(tmp_path, write_much, 2_000, log_lines=1_000))[1]

    assert len(text) <= 16 * 1024
    assert text.endswith("line 1999")


async def test_what_cannot_be_written_or_stored_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nor may they reach pytest, which cannot write them either.
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    lines = (await logs_of(tmp_path, write_badly))[1].splitlines()

    assert "WARNING app.mail: <unprintable: TypeError>" == lines[0]
    assert lines[1].endswith("? ? ***")


async def test_nothing_is_kept_of_attempts_that_write_nothing_or_by_default(tmp_path: Path) -> None:
    quiet = await logs_of(tmp_path, keep_quiet)
    default = await logs_of(tmp_path, write, "it", log_lines=0)

    assert ({}, {}) == (quiet, default)


async def test_the_log_is_kept_when_the_task_completes_its_job_itself(tmp_path: Path) -> None:
    text = (await logs_of(tmp_path, complete_with, str(tmp_path / "jobs.db")))[1]

    assert text.splitlines()[0].endswith("before")
    assert text.splitlines()[-1].endswith("within")


def test_the_number_of_lines_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="log_lines must be"):
        Afterword(url=f"sqlite:///{tmp_path / 'jobs.db'}", log_lines=-1)
