"""A process whose children die in the middle of transactions, as tests tell it.

For each line on its standard input it forks children, and answers with their exit statuses. Many
tests share one process because its imports take long; it has no threads, so it may fork.

    bind URL KIND        two children each serve a request that adds a job in a transaction: one
                         dies before the commit, one right after it
    complete URL KIND    a child works, and runs `complete_then_die`
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.testclient import TestClient

from afterword import Afterword, current_task
from afterword.starlette import BackgroundTasks
from afterword.store.opening import open_store
from tests import warm
from tests.helpers import ROOT
from tests.sites import note
from tests.visitors import Database, add, completing

BEFORE, AFTER = 8, 9  # exit statuses of children that die before and after their commit
SEEN: dict[str, Database] = {}

Process = subprocess.Popen[str]


# ---------------------------------------------------------------------- for the tests


@contextmanager
def dying_process() -> Iterator[Process]:
    """Start the process, and end it after the block."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.dying"]
    pipe = subprocess.PIPE
    with warm.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.communicate()


def tell(process: Process, what: str, database: Database) -> str:
    """Send a line; returns the answer."""
    assert process.stdin
    assert process.stdout
    print(what, database.url, database.kind, file=process.stdin, flush=True)
    return process.stdout.readline().strip()


# ---------------------------------------------------------------------- in the process


def bind(when: str) -> None:
    """Serve one request that adds a job, and die in it."""

    async def die(request: Request) -> None:
        async with SEEN["database"].visit() as visitor:
            await visitor.note(when)
            await add(BackgroundTasks().bind(visitor.raw), note, when)
            if when == "before":
                os._exit(BEFORE)
            await visitor.commit()
            os._exit(AFTER)

    app = Starlette(routes=[Route("/", die)])
    Afterword(app, SEEN["database"].url, worker=False)  # it must not run the job itself
    with TestClient(app) as client:
        client.get("/")


async def complete_then_die() -> None:
    """Die in a task: in the first attempt before the commit, in the second one after it."""
    attempt = current_task().attempt
    async with SEEN["database"].visit(begun=False) as visitor, completing(visitor):
        await visitor.note(f"attempt {attempt}")
        if attempt == 1:
            os._exit(BEFORE)
    os._exit(AFTER)


async def work() -> None:
    """Run jobs; who has run them before has died."""
    with contextlib.closing(open_store(SEEN["database"].url)) as store:
        store.open()
        for each in store.workers():
            store.leave(each.id)
    await Afterword(Starlette(), SEEN["database"].url).start()
    await asyncio.sleep(60)


def fork(action: Callable[[], None]) -> int:
    """Fork a child that does this; returns its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        action()
    finally:
        os._exit(1)


def obey(what: str, database: Database) -> list[int]:
    """Do as a line says; returns the exit statuses."""
    SEEN["database"] = database
    if what == "complete":
        return [fork(lambda: asyncio.run(work()))]
    return [fork(lambda: bind("before")), fork(lambda: bind("after"))]


if __name__ == "__main__":
    for line in sys.stdin:
        what, url, kind = line.split()
        print(*obey(what, Database(url, kind)), flush=True)
