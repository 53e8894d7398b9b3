"""Types of the public API, as a type checker infers them. Checked, never run.

Each `type: ignore` is a call that must be an error: mypy reports one that is not.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, assert_type

from fastapi import APIRouter, Depends, FastAPI
from starlette.responses import PlainTextResponse

import afterword.starlette
from afterword import (
    Afterword,
    Job,
    JobRecord,
    JobState,
    Progress,
    TaskContext,
    current_task,
    task,
)
from afterword.client.handle import ProgressRecord
from afterword.fastapi import Accepted, AfterwordDep, BackgroundTask, BackgroundTasks
from afterword.injection.injectors.dishka import DishkaInjector
from afterword.injection.injectors.wireup import WireupInjector


def send(to: str, *, retries: int = 3) -> None: ...


async def resize(path: str, width: int = 80) -> bytes:
    return b""


app = FastAPI()
aw = Afterword(app, "sqlite:///jobs.db", order="concurrent", on_failure="continue", lease=5)
Afterword()
Afterword(app, order="random")  # type: ignore[arg-type]
Afterword(app, on_failure="retry")  # type: ignore[arg-type]
Afterword(app, concurrency="40")  # type: ignore[arg-type]
Afterword(app, threads=4)  # type: ignore[arg-type]
Afterword("main:app")  # type: ignore[arg-type]
Afterword(app, worker=False, queues=["default", "mail"])
Afterword(app, queues=[1])  # type: ignore[list-item]


@app.post("/")
async def injected(background_tasks: BackgroundTasks) -> None:
    assert_type(background_tasks.add_task(send, "a"), Job[None])
    assert_type(background_tasks.add_task(send, "a", retries=1), Job[None])
    assert_type(background_tasks.add_task(resize, "a", width=1), Job[bytes])
    assert_type(background_tasks.add_task(lambda: None), Job[None])
    assert_type(background_tasks.add_task(send, to="a").id, str)
    assert_type(background_tasks.add_task(send, to="a").durable, bool)
    await background_tasks()

    background_tasks.add_task(send)  # type: ignore[call-overload]
    background_tasks.add_task(send, 1)  # type: ignore[call-overload]
    background_tasks.add_task(send, "a", 1)  # type: ignore[call-overload]
    BackgroundTask(send, "a", retry=1)  # type: ignore[call-arg]
    background_tasks.add_task(resize, "a", width="1")  # type: ignore[arg-type]
    background_tasks.add_task(send("a"))  # type: ignore[call-overload, func-returns-value]
    background_tasks.add_task(resize("a"))  # type: ignore[call-overload]


def on_a_response() -> PlainTextResponse:
    BackgroundTask(send, "a", retries=1)
    BackgroundTask(send, retries=1)  # type: ignore[call-arg]
    BackgroundTask(send, "a", retries="1")  # type: ignore[arg-type]
    BackgroundTasks([BackgroundTask(send, "a")])
    BackgroundTasks(tasks=[send])  # type: ignore[list-item]
    afterword.starlette.BackgroundTasks().add_task(send)  # type: ignore[call-overload]
    return PlainTextResponse("ok", background=BackgroundTask(resize, "a"))


async def outside_of_a_request() -> None:
    assert_type(await aw.add_task(send, "a", retries=1), Job[None])
    assert_type(await aw.add_task(resize, "a"), Job[bytes])
    assert_type(aw.add_task_sync(send, "a"), Job[None])
    assert_type(await aw.job("id"), Job[Any] | None)

    await aw.add_task(send)  # type: ignore[call-overload]
    await aw.add_task(resize, 1)  # type: ignore[call-overload]
    aw.add_task_sync(send, "a", 1)  # type: ignore[call-overload]
    await aw.job(1)  # type: ignore[arg-type]


@task
def registered(number: int) -> str:
    return str(number)


@task
async def registered_async(number: int) -> str:
    return str(number)


@task(queue="mail")
def with_options(number: int) -> str:
    return str(number)


@task(queue="mail")
async def with_options_async(number: int) -> str:
    return str(number)


async def options_change_no_type() -> None:
    assert_type(with_options(1), str)
    assert_type(await with_options_async(1), str)
    with_options("1")  # type: ignore[arg-type]
    aw.add_task_sync(with_options, "1")  # type: ignore[call-overload]
    task(queue=5)  # type: ignore[call-overload]
    task(lane="mail")  # type: ignore[call-overload]
    assert_type(task(with_options, queue="mail")(1), str)
    task(with_options, "mail")  # type: ignore[call-overload]
    aw.configure_worker(queues=["mail"], concurrency=5, grace=1.5)
    aw.configure_worker(queues=[5])  # type: ignore[list-item]


async def tasks_stay_the_functions_they_are() -> None:
    assert_type(registered(1), str)
    assert_type(await registered_async(1), str)
    plain: Callable[[int], str] = registered
    registered("1")  # type: ignore[arg-type]
    await registered_async("1")  # type: ignore[arg-type]
    aw.add_task_sync(plain, 1)
    aw.add_task_sync(registered, "1")  # type: ignore[call-overload]
    task(5)  # type: ignore[call-overload]


def with_injected(
    number: int, context: TaskContext, progress: Progress, tasks: BackgroundTasks
) -> str:
    assert_type(context.add_task(registered, number), Job[str])
    assert_type(context.options(delay=5).add_task(registered_async, number), Job[str])
    assert_type(context.attempt, int)
    assert_type(tasks.add_task(registered, number), Job[str])
    assert_type(current_task().progress, Progress)
    assert_type(list(progress.track("abc")), list[str])
    progress.update(1, total=2.5, message="half")
    context.logger.info("there")
    context.add_task(registered, "1")  # type: ignore[call-overload]
    context.options(when=5)  # type: ignore[call-arg]
    progress.update("1")  # type: ignore[arg-type]
    progress.track(5)  # type: ignore[call-overload]
    return context.job_id


async def injected_async(progress: Progress, items: AsyncIterator[bytes]) -> None:
    async for item in progress.track(items, total=5):
        assert_type(item, bytes)


def with_default(number: int, session: bytes = Depends(resize)) -> None: ...


def injected_parameters_without_a_default_are_missed(tasks: BackgroundTasks) -> None:
    tasks.add_task(with_injected, 1)  # type: ignore[call-overload]
    assert_type(tasks.add_task(with_default, 1), Job[None])
    Afterword(app, injectors=[WireupInjector(), DishkaInjector()])
    Afterword(app, injectors=[WireupInjector])  # type: ignore[list-item]


def records(record: JobRecord, job: Job[bytes]) -> None:
    assert_type(record.state, JobState)
    assert_type(record.state.final, bool)
    assert_type(record.error, str | None)
    assert_type(job.state, JobState)
    assert_type(job.result, bytes | None)
    assert_type(job.progress, ProgressRecord | None)
    record.attempt = 2  # type: ignore[misc]


def status_api(background_tasks: BackgroundTasks) -> Accepted:
    assert_type(aw.jobs_router(authorize=send), APIRouter)
    aw.jobs_router(authorize=Depends(resize), prefix="/work", tags=["work"], show_errors=None)
    aw.jobs_router(send)  # type: ignore[call-arg]
    aw.jobs_router(authorize="me")  # type: ignore[arg-type]
    aw.jobs_router(authorize=send, show_errors="all")  # type: ignore[arg-type]
    Accepted("id")  # type: ignore[arg-type]
    Accepted(send)  # type: ignore[arg-type]
    job = background_tasks.add_task(resize, "a")
    assert_type(Accepted(job).job, Job[Any])
    return Accepted(job, location="/pictures/{id}", retry_after=5, headers={"X-Mine": "1"})


aw.every("0 3 * * *").add_task(send, "a", retries=1)
aw.every("0 3 * * *").add_task(send, 1)  # type: ignore[arg-type]
aw.every("0 3 * * *").add_task(send)  # type: ignore[call-arg]
aw.every("0 3 * * *", args="nonsense", kwargs=[])  # type: ignore[arg-type]


async def takes_afterword(here: AfterwordDep) -> None:
    assert_type(here, Afterword)
    assert_type(await here.add_task(resize, "photo.jpg"), Job[bytes])


Afterword().install(app)
Afterword().install("app")  # type: ignore[arg-type]
