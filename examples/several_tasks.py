"""Several tasks of one request: they run in order, and a failure stops the rest.

    uvicorn examples.several_tasks:app
    curl -X POST 'localhost:8000/orders?item=lamp'
    curl -X POST 'localhost:8000/orders?item=moon'      # not in stock
    curl localhost:8000/jobs/...                        # one of the ids in the answer

The lamp is reserved, packed and announced. The moon cannot be reserved: that job ends as "failed",
and the two after it as "cancelled". They never run, and their records say why.
"""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, HTTPException, Query

from afterword import Afterword, JobState
from afterword.fastapi import BackgroundTasks

JOURNAL = Path("orders.log")
STOCK = frozenset({"lamp", "chair"})

app = FastAPI()
afterword = Afterword(app)


def note(line: str) -> None:
    """Write a line, in place of the work of a real shop."""
    with JOURNAL.open("a", encoding="utf-8") as journal:
        journal.write(f"{line}\n")


def reserve(item: str) -> None:
    """Reserve an item; the later tasks rely on it."""
    if item not in STOCK:
        raise LookupError(f"{item!r} is not in stock")
    note(f"reserved {item}")


async def pack(item: str) -> None:
    """Pack the item; the order is also kept between `def` and `async def` tasks."""
    note(f"packed {item}")


def announce(item: str) -> None:
    """Announce the item, only if the tasks before succeeded."""
    note(f"announced {item}")


@app.post("/orders")
async def order(
    item: Annotated[str, Query(pattern="^[a-z]{1,20}$")], background_tasks: BackgroundTasks
) -> list[str]:
    """Add three jobs, which are stored together; if that fails, none is, and the answer is 503."""
    return [background_tasks.add_task(task, item).id for task in (reserve, pack, announce)]


@app.get("/jobs/{job_id}")
async def job(job_id: UUID) -> JobState:
    """Show the state of a job."""
    record = await afterword.job(str(job_id))
    if record is None:
        raise HTTPException(404)
    return record.state
