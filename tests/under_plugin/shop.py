"""An application under the pytest plugin; its URL names a store that must not be opened."""

import asyncio
import threading
import time
from typing import Annotated

from fastapi import Depends, FastAPI, Query

from afterword import Afterword, Job, JobRecord, Retry, task
from afterword.fastapi import BackgroundTasks

app = FastAPI()
# As in production, where other processes run the jobs.
afterword = Afterword(app, url="sqlite:///real.db", worker=False)
done: list[object] = []
told: list[object] = []
gate = threading.Event()


async def slow(number: int, note: str = "none") -> str:
    await asyncio.sleep(0.05)
    done.append(number)
    return f"{number}: {note}"


def blocking(number: int) -> None:
    time.sleep(0.05)
    done.append(number)


async def tell(job: JobRecord, error: BaseException, attempt: int) -> None:
    await asyncio.sleep(0.05)
    told.append((attempt, str(error)))


@task(retries=3, backoff=3600, on_failure_call=tell)
def fail(number: int) -> None:
    done.append(number)
    raise ValueError("boom")


def count(*numbers: int) -> None:
    done.extend(numbers)


def hang() -> None:
    gate.wait(60)


@task(queue="reports")
def report() -> None:
    done.append("report")


@task(retries=1_000)
def poll() -> None:
    done.append("poll")
    raise Retry("not yet", delay=3600)


async def add_another(background_tasks: BackgroundTasks) -> None:
    done.append("first")
    background_tasks.add_task(blocking, 9)


@afterword.every(seconds=600)
def tidy() -> None:
    done.append("tidied")


def get_name() -> str:
    return "real"


def note_name(name: Annotated[str, Depends(get_name)]) -> None:
    done.append(name)


@task(executor="process")
def compute(number: int) -> int:
    return 2 * number


@task(executor="process")
def add_from_elsewhere(number: int) -> str:
    return afterword.add_task_sync(blocking, number).id


@app.post("/tasks")
async def tasks(background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(slow, 1, note="one")
    background_tasks.add_task(blocking, 2)
    background_tasks.add_task(slow, 3)


@app.post("/delayed")
async def delayed(background_tasks: BackgroundTasks, seconds: float = 3600) -> Job[str]:
    return background_tasks.options(delay=seconds).add_task(slow, 4)


@app.post("/one/{name}")
async def one(name: str, background_tasks: BackgroundTasks) -> Job[None]:
    if name == "fail":
        return background_tasks.add_task(fail, 5)
    if name == "hang":
        return background_tasks.add_task(hang)
    if name == "another":
        return background_tasks.add_task(add_another)  # type: ignore[call-overload,no-any-return]
    return background_tasks.add_task(report if name == "report" else poll)


@app.post("/awaited")
async def awaited(number: Annotated[int, Query()] = 6) -> str | None:
    job = await afterword.add_task(slow, number)
    return (await job.wait(timeout=60)).result


@app.post("/unstorable")
async def unstorable(background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(blocking, 7)
    background_tasks.add_task(lambda: done.append("here"))
