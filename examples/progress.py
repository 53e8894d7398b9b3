"""A long task reports its progress, and a client polls it.

    uvicorn examples.progress:app
    curl -X POST 'localhost:8000/reports?pages=300'
    curl localhost:8000/reports/...                     # the id in the answer

The task writes its progress into a table of the application. The table also lets a task that was
killed continue after the last recorded page. `afterword.job(id)` adds what the table does not have:
whether the job is queued, running or failed.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Query

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

TABLE = """
CREATE TABLE IF NOT EXISTS report (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, pages INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0
) STRICT
"""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open a transaction in the application's own file."""
    with closing(sqlite3.connect("reports.db", timeout=10)) as connection, connection:
        yield connection


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Create the table; the worker starts when this function reaches its `yield`."""
    with database() as connection:
        connection.execute(TABLE)
    yield


app = FastAPI(lifespan=lifespan)
afterword = Afterword(app)


def write_report(report: UUID) -> None:
    """Write page by page, and record each page before the next."""
    with database() as connection:
        select = "SELECT done, pages FROM report WHERE id = ?"
        done, pages = connection.execute(select, [str(report)]).fetchone()
    for page in range(done + 1, pages + 1):
        time.sleep(0.02)  # the work
        with database() as connection:
            connection.execute("UPDATE report SET done = ? WHERE id = ?", [page, str(report)])


@app.post("/reports", status_code=202)
def order(
    pages: Annotated[int, Query(ge=1, le=10_000)], background_tasks: BackgroundTasks
) -> dict[str, UUID]:
    """Write the row: the job is stored after that, so the task finds the row."""
    report = uuid4()
    job = background_tasks.add_task(write_report, report)
    with database() as connection:
        insert = "INSERT INTO report (id, job, pages) VALUES (?, ?, ?)"
        connection.execute(insert, [str(report), job.id, pages])
    return {"id": report}


def row(report: UUID) -> tuple[str, int, int]:
    """Read a report's row, in a `def` dependency: it runs in a thread, because reading blocks."""
    with database() as connection:
        select = "SELECT job, done, pages FROM report WHERE id = ?"
        found: tuple[str, int, int] | None = connection.execute(select, [str(report)]).fetchone()
    if found is None:
        raise HTTPException(404, "No such report")
    return found


@app.get("/reports/{report}")
async def show(row: Annotated[tuple[str, int, int], Depends(row)]) -> dict[str, str | int]:
    """Show the progress, for a progress bar."""
    job_id, done, pages = row
    job = await afterword.job(job_id)
    return {"state": job.state if job else "unknown", "done": done, "pages": pages}
