"""An application whose tasks are added by one process and run by another."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import wireup
import wireup.integration.fastapi
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient
from wireup import Injected, injectable
from wireup.integration.fastapi import WireupTask

import afterword.wireup
from afterword import Afterword, Progress, TaskContext, task
from afterword.fastapi import BackgroundTasks


def note(*words: object) -> None:
    """Append a line to the ledger of all processes."""
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as ledger:
        ledger.write(" ".join(map(str, [os.getpid(), *words])) + "\n")


class Mailer:
    """A singleton with something to close."""

    closed = False

    def send(self, to: str) -> str:
        """Send; fails if it is closed."""
        return f"sent to {to}" if not self.closed else "closed"


@injectable
def mailer() -> Iterator[Mailer]:
    made = Mailer()
    yield made
    made.closed = True
    note("mailer closed")


@injectable(lifetime="scoped")
class Audit:
    """A scoped service that gets its attempt."""

    def __init__(self, context: TaskContext) -> None:
        self.who = f"{context.job_id} {context.attempt}"


def get_pool(request: Request) -> str:
    return str(request.state.pool)


async def by_wireup(to: str, mail: Injected[Mailer], audit: Injected[Audit]) -> None:
    """Use Wireup's services."""
    note("by_wireup", mail.send(to), audit.who)


def by_depends(to: str, pool: Annotated[str, Depends(get_pool)], context: TaskContext) -> None:
    """Use FastAPI's dependencies, with the state of the worker's own lifespan."""
    note("by_depends", to, pool, context.job_id, context.attempt)


@task(executor="process")
def by_process(to: str, progress: Progress, context: TaskContext) -> None:
    """Run in a third process."""
    progress.update(1, total=2, message=f"half of {to}")
    note("by_process", to, context.job_id, context.attempt)


def slowly(to: str, mail: Injected[Mailer]) -> None:
    """Take long, so that it still runs when the worker is told to end."""
    note("slowly", "begun")
    time.sleep(0.5)
    note("slowly", mail.send(to))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Give each process its own pool."""
    yield {"pool": f"pool-of-{os.getpid()}"}
    note("lifespan over")


app = FastAPI(lifespan=lifespan)


@app.post("/")
async def add(tasks: BackgroundTasks, wireup_task: Injected[WireupTask]) -> list[str]:
    """Add one job of each kind."""
    return [
        tasks.add_task(wireup_task(by_wireup), "ada").id,
        tasks.add_task(by_depends, "bob").id,  # type: ignore[call-overload]
        tasks.add_task(by_process, "cleo").id,  # type: ignore[call-overload]
        tasks.add_task(wireup_task(slowly), "dan").id,
    ]


# Before Afterword; after it would work as well.
wireup.integration.fastapi.setup(
    wireup.create_async_container(
        injectables=[mailer, Audit, afterword.wireup, wireup.integration.fastapi]
    ),
    app,
)
aw = Afterword(app, "sqlite:///jobs.db", worker=False)


def add_all() -> None:
    """Add one job of each kind, and print their ids."""
    with TestClient(app) as client:
        print(" ".join(client.post("/").json()))
