"""`options(...)`: on each way to add a call, it overrides the options of the task."""

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Response
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from afterword import Job, JobRecord, JobState, task
from afterword.fastapi import BackgroundTasks
from tests.at_work import asked, wait_for
from tests.life.site import (
    job_of,
    note,
    note_async,
    script,
    seen,
    serving,
    store_of,
    working,
)

pytestmark = pytest.mark.anyio

OPTIONS: dict[str, Any] = {
    "delay": 60,
    "queue": "mail",
    "priority": -5,
    "unique": "key",
    "retries": 7,
    "timeout": 30,
    "tags": ["a", "b"],
}


@task(queue="slow", priority=3, retries=1, timeout=5, tags=["b", "task"], on_crash="fail")
def with_options(text: str) -> None:
    note(text)


def check(record: JobRecord | None, task_tags: tuple[str, ...] = ()) -> None:
    """Check that all of the options are on record."""
    assert record
    assert ("mail", -5, "key") == (record.queue, record.priority, record.unique_key)
    assert (*task_tags, *(tag for tag in "ab" if tag not in task_tags)) == record.tags
    assert 30 < (record.run_at - record.created_at).total_seconds() < 90
    assert record.options
    assert {'"retries":7', '"timeout":30.0'} <= {*record.options.strip("{}").split(",")}


# ---------------------------------------------------------------------- wherever it is added


async def test_in_a_route(store_url: str) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.options(**OPTIONS).add_task(with_options, "x")]

    async with serving(store_url, add) as site:
        await site.post()
        (job,) = site.jobs
        check((await job.refresh()).record, ("b", "task"))
        await wait_for(
            lambda: asked(job).state is JobState.QUEUED, description="its request is over"
        )


async def test_on_a_response(file_url: str) -> None:
    """The response has a BackgroundTasks of the user."""
    app = FastAPI()
    jobs: list[Job[Any]] = []

    def add(_: BackgroundTasks) -> list[Job[Any]]:
        return []

    async with serving(file_url, add) as site:
        app = site.app

        @app.get("/own")
        async def own() -> Response:
            tasks = BackgroundTasks()
            jobs.append(tasks.options(**OPTIONS).add_task(note, "x"))
            jobs.append(tasks.options(tags=["second"]).add_task(note, "y"))
            return Response(background=tasks)

        await site.client.get("/own")
        records = [(await job_of(site.afterword, job)).record for job in jobs]

    check(records[0])
    assert records[1]
    assert records[0]
    assert (("second",), records[0].id) == (records[1].tags, records[1].after)


async def test_outside_of_a_request(store_url: str) -> None:
    async with working(store_url, worker=False) as afterword:
        job = await afterword.options(**OPTIONS).add_task(note, "x")
        check((await job.refresh()).record)


def test_in_a_script(store_url: str) -> None:
    with script(store_url) as afterword:
        job = afterword.options(**OPTIONS).add_task_sync(note_async, "x")

        check(job.refresh_sync().record)


def test_in_a_transaction(tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    with script(url) as afterword, Session(create_engine(url)) as session:
        job = afterword.bind(session).options(**OPTIONS).add_task(with_options, "x")
        before = job.refresh_sync().record
        session.commit()

        check(job.refresh_sync().record, ("b", "task"))
    assert before is None


async def test_in_a_transaction_on_postgresql(postgres_url: str) -> None:
    import psycopg

    with script(postgres_url) as afterword:
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            binding = afterword.bind(connection).options(**OPTIONS)
            job = await binding.add_task(note, "x")
            await connection.commit()
        check(asked(job).record)


def test_a_transaction_finds_the_job_that_is_there(tmp_path: Path) -> None:
    """Its handle is that job's; later calls of the transaction follow that job."""
    url = f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    with script(url) as afterword, Session(create_engine(url)) as session:
        first = afterword.options(unique="key").add_task_sync(note, "x")
        binding = afterword.bind(session)
        again = binding.options(unique="key").add_task(note, "x")
        other = binding.options(unique="key").add_task(note, "y")
        follower = binding.add_task(note, "z")
        session.commit()
        jobs = store_of(afterword).find()
        follower.refresh_sync()

    assert [first.id] * 2 == [again.id, other.id]
    assert (False, True) == (again.conflict, other.conflict)
    assert {first.id, follower.id} == {job.id for job in jobs}
    assert follower.record
    assert first.id == follower.record.after


def test_what_was_rolled_back_is_not_found(tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    with script(url) as afterword, Session(create_engine(url)) as session:
        binding = afterword.bind(session).options(unique="key")
        lost = binding.add_task(note, "x")
        same = binding.add_task(note, "x")
        session.rollback()
        job = binding.add_task(note, "x")
        session.commit()
        jobs = store_of(afterword).find()

    assert lost.id == same.id != job.id
    assert [job.id] == [each.id for each in jobs]


# ---------------------------------------------------------------------- what the options mean


async def test_what_is_not_said_is_as_the_task_has_it(file_url: str) -> None:
    async with working(file_url, worker=False) as afterword:
        plain = await job_of(afterword, await afterword.add_task(with_options, "x"))
        said = await afterword.options(tags=["b", "c"]).add_task(with_options, "x")
        other = await job_of(afterword, said)

    for job in (plain, other):
        assert job.record
        assert ("slow", 3) == (job.record.queue, job.record.priority)
        assert '"on_crash":"fail"' in (job.record.options or "")
    assert plain.record
    assert other.record
    assert ("b", "task") == plain.record.tags
    assert ("b", "task", "c") == other.record.tags


def soon(seconds: float) -> list[dict[str, Any]]:
    """Return ways to give a start time."""
    return [
        {"delay": seconds},
        {"delay": timedelta(seconds=seconds)},
        {"run_at": datetime.now(UTC) + timedelta(seconds=seconds)},
        {"run_at": datetime.now(timezone(timedelta(hours=-9))) + timedelta(seconds=seconds)},
    ]


def note_time(due: float) -> None:
    seen.append(time.time() - due)


@pytest.mark.parametrize("way", range(4))
async def test_nothing_starts_before_its_time(way: int, store_url: str) -> None:
    """This holds for a job held by its request, and for claims."""

    def options() -> dict[str, Any]:
        return soon(due[0] - time.time())[way]

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [background_tasks.options(**options()).add_task(note_time, due[0])]

    due = [0.0]
    async with serving(store_url, add) as site:
        due[0] = time.time() + 0.5
        await site.post()
        await site.afterword.options(**options()).add_task(note_time, due[0])
        await wait_for(lambda: len(seen) == 2, description="both have run")

    assert all(-0.001 <= late < 60 for late in seen), seen


async def test_of_the_jobs_of_a_request_the_next_waits_for_one_that_waits_for_its_time(
    file_url: str,
) -> None:
    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        return [
            background_tasks.options(delay=0.3).add_task(note, "first"),
            background_tasks.add_task(note, "second"),
        ]

    async with serving(file_url, add) as site:
        await site.post()
        await site.jobs[1].wait(60)

    assert ["first", "second"] == seen


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"delay": 0}, id="no-delay"),
        pytest.param({"run_at": datetime(1971, 1, 1, tzinfo=UTC)}, id="in-the-past"),
    ],
)
async def test_what_is_due_starts_at_once(options: dict[str, Any], store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await (await afterword.options(**options).add_task(note, "x")).wait(60)

    assert JobState.COMPLETED is job.state


LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("at", [LAST, datetime.max.replace(tzinfo=UTC)])
async def test_the_year_9999_is_a_time_like_any_other(at: datetime, store_url: str) -> None:
    async with working(store_url) as afterword:
        job = await afterword.options(run_at=at).add_task(note, "x")
        await (await afterword.add_task(note, "now")).wait(60)
        await job.refresh()

    assert job.record
    assert (JobState.QUEUED, LAST) == (job.state, job.record.run_at)
    assert ["now"] == seen


@task(priority=-1)
def urgent(text: str) -> None:
    note(text)


async def test_the_lowest_number_starts_first(store_url: str) -> None:
    async with working(store_url, worker=False) as afterword:
        for priority in (5, 0, -1000, 1000):
            await afterword.options(priority=priority).add_task(note, f"{priority}")
        await afterword.add_task(urgent, "-1")
        await afterword.options(priority=3).add_task(urgent, "3")
        last = await afterword.options(priority=1000).add_task(note, "last")
    async with working(store_url, concurrency=1) as afterword:
        await (await job_of(afterword, last)).wait(60)

    assert ["-1000", "-1", "0", "3", "5", "1000", "last"] == seen


async def test_a_queue_of_the_call_is_served_by_who_serves_it(store_url: str) -> None:
    async with working(store_url, queues=["default"]) as afterword:
        job = await afterword.options(queue="mail").add_task(note, "mail")
        await (await afterword.add_task(note, "default")).wait(60)
        between = (await job.refresh()).state
    async with working(store_url, queues=["mail"]) as afterword:
        await (await job_of(afterword, job)).wait(60)

    assert JobState.QUEUED is between
    assert ["default", "mail"] == seen


async def test_jobs_are_found_by_their_tags(store_url: str) -> None:
    from afterword.model.records import Filter

    async with working(store_url, worker=False) as afterword:
        tagged = await afterword.options(tags=["customer:42"]).add_task(with_options, "x")
        await afterword.add_task(with_options, "y")
        found = store_of(afterword).find(Filter(tag="customer:42"))

    assert [tagged.id] == [job.id for job in found]


async def test_a_call_that_runs_in_its_request_has_no_use_for_options(file_url: str) -> None:
    errors: list[Exception] = []

    def add(background_tasks: BackgroundTasks) -> list[Job[Any]]:
        try:
            background_tasks.options(delay=60).add_task(lambda: seen.append("ran"))
        except TypeError as error:
            errors.append(error)
        return []

    async with serving(file_url, add) as site:
        await site.post()

    assert ["NotStorable"] == [type(error).__name__ for error in errors]
    assert [] == seen
