"""A process whose children die while they serve a request; `tests/test_bind.py` tells it how.

For each line `URL KIND` on its standard input it forks two children, each of which serves one
request that adds a job in a transaction: one dies before the commit, one right after it. It
answers with their exit statuses. It is one process for many tests because its imports take long.
"""

import os
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.testclient import TestClient

from afterword import Afterword
from afterword.starlette import BackgroundTasks
from tests.sites import note
from tests.visitors import Database, add

KILLED = 9


def serve(url: str, kind: str, when: str) -> None:
    """Serve one request, and do not survive it."""
    database = Database(url, kind)

    async def die(request: Request) -> None:
        async with database.visit() as visitor:
            await visitor.note(when)
            await add(BackgroundTasks().bind(visitor.raw), note, when)
            if when == "before":
                os._exit(KILLED)
            await visitor.commit()
            os._exit(KILLED)

    app = Starlette(routes=[Route("/", die)])
    Afterword(app, url)
    with TestClient(app) as client:
        client.get("/")


def fork(url: str, kind: str, when: str) -> int:
    """The exit status of a child that serves such a request."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        serve(url, kind, when)
    finally:
        os._exit(1)


if __name__ == "__main__":
    for line in sys.stdin:
        url, kind = line.split()
        statuses = [fork(url, kind, when) for when in ("before", "after")]
        print(*statuses, flush=True)
