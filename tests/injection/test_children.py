"""Jobs that tasks add: they exist if and only if the attempt completes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import fastapi
import pytest
import sqlalchemy
from fastapi import Depends
from sqlalchemy.orm import Session
from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from afterword import (
    Afterword,
    Job,
    JobRecord,
    JobState,
    NotStorable,
    TaskContext,
    current_task,
    task,
)
from afterword.errors import NotInTask, UnknownJob
from afterword.fastapi import BackgroundTasks
from tests.at_work import ended, wait_for
from tests.injection.working import add, working

pytestmark = pytest.mark.anyio

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()


def child(name: str) -> None:
    seen.append(name)


async def later(name: str, task: TaskContext) -> None:
    seen.append((name, task.attempt))


def fail(name: str) -> None:
    raise ValueError(name)


def records(afterword: Afterword) -> dict[str, JobRecord]:
    """Return the jobs in the store by the first argument, or by the function."""
    found = sorted(afterword.runtime.store.find(), key=lambda job: job.id)
    return {f"{job.task.partition(':')[2]} {job.arguments}": job for job in found}


def names(afterword: Afterword) -> list[str]:
    return [name for name in records(afterword) if name.startswith(("child", "later", "fail"))]


# ---------------------------------------------------------------------- TaskContext.add_task


@task(retries=1, backoff=0)
def add_children(fails: bool, context: TaskContext) -> None:
    context.add_task(child, f"of attempt {context.attempt}")
    seen.append(context.options(delay=3600, tags=["mine"]).add_task(child, "in an hour"))
    if fails and context.attempt == 1:
        raise ValueError("no luck")


@task(retries=1, backoff=0)
async def add_children_async(fails: bool) -> None:
    context = current_task()
    context.add_task(child, f"of attempt {context.attempt}")
    seen.append(context.options(delay=3600, tags=["mine"]).add_task(child, "in an hour"))
    await asyncio.sleep(0)
    if fails and context.attempt == 1:
        raise ValueError("no luck")


@task(executor="process", retries=1, backoff=0)
def add_children_in_process(fails: bool, context: TaskContext) -> None:
    context.add_task(child, f"of attempt {context.attempt}")
    context.options(delay=3600, tags=["mine"]).add_task(child, "in an hour")
    if fails and context.attempt == 1:
        raise ValueError("no luck")


@pytest.mark.parametrize("func", [add_children, add_children_async, add_children_in_process])
async def test_children_are_added_once_by_the_attempt_that_completes(
    func: Callable[..., Any], tmp_path: Path
) -> None:
    async with working(tmp_path) as afterword:
        await ended(afterword, await add(afterword, func, True))
        await wait_for(lambda: "of attempt 2" in seen, description="the child runs")
        found = records(afterword)

    late = found['child {"name":"in an hour"}']
    assert {'child {"name":"of attempt 2"}', 'child {"name":"in an hour"}'} < set(found)
    assert 'child {"name":"of attempt 1"}' not in found
    assert (JobState.QUEUED, ("mine",)) == (late.state, late.tags)
    assert late.run_at is not None


async def test_until_then_the_store_does_not_know_them(tmp_path: Path) -> None:
    async with working(tmp_path) as afterword:
        await ended(afterword, await add(afterword, ask_for_child))

    assert isinstance(seen[0], UnknownJob)


async def ask_for_child() -> None:
    job = current_task().add_task(child, "x")
    try:
        await job.wait(1)
    except UnknownJob as error:
        seen.append(error)


async def cancelled_with_children(context: TaskContext) -> None:
    context.add_task(child, "never")
    seen.append("begun")
    await asyncio.sleep(60)


async def test_an_attempt_that_is_cancelled_adds_none(tmp_path: Path) -> None:
    async with working(tmp_path) as afterword:
        job = await add(afterword, cancelled_with_children)
        await wait_for(lambda: seen, description="it has begun")
        await job.cancel()
        await ended(afterword, job)

        assert [] == names(afterword)


async def add_injected(context: TaskContext) -> None:
    context.add_task(later, "injected")  # type: ignore[call-overload]
    with pytest.raises(NotStorable):
        context.add_task(lambda: None)
    with pytest.raises(TypeError, match="missing a required argument"):
        context.add_task(child)  # type: ignore[call-overload]


async def test_children_are_injected_too_and_mistakes_raise(tmp_path: Path) -> None:
    async with working(tmp_path) as afterword:
        found = await ended(afterword, await add(afterword, add_injected))
        await wait_for(lambda: seen, description="the child runs")

    assert JobState.COMPLETED is found.state, found.error
    assert [("injected", 1)] == seen


async def keep_context(context: TaskContext) -> None:
    seen.append(context)


async def test_nothing_is_added_to_an_attempt_that_has_ended(tmp_path: Path) -> None:
    async with working(tmp_path) as afterword:
        await ended(afterword, await add(afterword, keep_context))

    with pytest.raises(NotInTask, match="has ended"):
        seen[0].add_task(child, "too late")


# ---------------------------------------------------------------------- complete_in


def complete_with_children(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    context = current_task()
    try:
        with Session(engine) as session, context.complete_in(session):
            context.add_task(child, "with the transaction")
        with pytest.raises(NotInTask):
            context.add_task(child, "too late")
    finally:
        engine.dispose()


async def test_children_are_added_in_the_tasks_own_transaction(tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    async with working(tmp_path, url=url) as afterword:
        job = await afterword.add_task(complete_with_children, url)
        found = await ended(afterword, job)
        await wait_for(lambda: seen, description="the child runs")

    assert JobState.COMPLETED is found.state, found.error
    assert ["with the transaction"] == seen


# ---------------------------------------------------------------------- `BackgroundTasks`


def get_tasks(tasks: BackgroundTasks) -> BackgroundTasks:
    """Return our BackgroundTasks, for routes and tasks."""
    return tasks


def get_their_tasks(tasks: fastapi.BackgroundTasks) -> fastapi.BackgroundTasks:
    """Return FastAPI's own BackgroundTasks."""
    return tasks


async def by_parameter(tasks: BackgroundTasks) -> None:
    tasks.add_task(child, "one")
    tasks.options(tags=["second"]).add_task(child, "two")


async def by_their_parameter(tasks: fastapi.BackgroundTasks) -> None:
    tasks.add_task(child, "one")
    tasks.add_task(child, "two")


async def by_starlettes_parameter(tasks: StarletteBackgroundTasks) -> None:
    tasks.add_task(child, "one")
    tasks.add_task(child, "two")


def by_dependency(
    tasks: Annotated[Any, Depends(get_tasks)], same: Annotated[Any, Depends(get_their_tasks)]
) -> None:
    tasks.add_task(child, "one")
    same.add_task(child, "two")


async def by_afterword(afterword: Afterword) -> None:
    first = await afterword.add_task(child, "one")
    await afterword.options(tags=["second"]).add_task(child, "two")
    assert isinstance(first, Job)


def by_afterword_sync(afterword: Afterword) -> None:
    afterword.add_task_sync(child, "one")
    afterword.options(tags=["second"]).add_task_sync(child, "two")


WAYS = [
    by_parameter,
    by_their_parameter,
    by_starlettes_parameter,
    by_dependency,
    by_afterword,
    by_afterword_sync,
]


@pytest.mark.parametrize("func", WAYS)
async def test_background_tasks_and_afterword_add_children(
    func: Callable[..., Any], tmp_path: Path
) -> None:
    """The children run in the order of adding."""
    async with working(tmp_path, concurrency=1) as afterword:
        found = await ended(afterword, await add(afterword, func))
        await wait_for(lambda: len(seen) == 2, description="the children run")
        jobs = names(afterword)

    assert JobState.COMPLETED is found.state, found.error
    assert ["one", "two"] == seen
    assert ['child {"name":"one"}', 'child {"name":"two"}'] == jobs


@task(retries=1, backoff=0)
async def fail_after_adding(tasks: BackgroundTasks, afterword: Afterword) -> None:
    tasks.add_task(child, f"attempt {current_task().attempt}")
    await afterword.add_task(child, f"of attempt {current_task().attempt}")
    if current_task().attempt == 1:
        raise ValueError("no luck")


async def test_children_are_stored_with_the_completion_or_not_at_all(tmp_path: Path) -> None:
    async with working(tmp_path) as afterword:
        await ended(afterword, await add(afterword, fail_after_adding))
        await wait_for(lambda: len(seen) == 2, description="the children run")

    assert {"attempt 2", "of attempt 2"} == set(seen)


async def add_in_order(tasks: BackgroundTasks) -> None:
    tasks.add_task(fail, "first")
    tasks.add_task(child, "second")


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, JobState.CANCELLED), ({"on_failure": "continue"}, JobState.COMPLETED)],
)
async def test_the_order_of_children_is_that_of_a_request(
    options: dict[str, Any], expected: JobState, tmp_path: Path
) -> None:
    """A failure stops the later ones, unless the application says otherwise."""
    async with working(tmp_path, **options) as afterword:
        await ended(afterword, await add(afterword, add_in_order))
        second = 'child {"name":"second"}'
        await wait_for(lambda: records(afterword)[second].state.final, description="it has ended")
        states = [records(afterword)[each].state for each in names(afterword)]

    assert [JobState.FAILED, expected] == states


async def bind_in_task(url: str, tasks: BackgroundTasks) -> None:
    engine = sqlalchemy.create_engine(url)
    try:
        with Session(engine) as session:
            tasks.bind(session).add_task(child, "bound")
            session.commit()
    finally:
        engine.dispose()


async def test_a_tasks_own_transaction_can_be_bound(tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    async with working(tmp_path, url=url) as afterword:
        found = await ended(afterword, await add(afterword, bind_in_task, url))
        await wait_for(lambda: seen, description="the child runs")

    assert JobState.COMPLETED is found.state, found.error
    assert ["bound"] == seen
