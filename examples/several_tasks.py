"""Several tasks of one request: they run in order, and a failure stops the rest.

    uvicorn examples.several_tasks:app
    curl -X POST 'localhost:8000/orders?item=lamp'
    curl -X POST 'localhost:8000/orders?item=moon'      # not in stock
    curl localhost:8000/jobs/...                        # one of the ids in the answer

The lamp is reserved, packed, announced. The moon cannot be reserved: that job ends as "failed",
the two behind it as "cancelled". They never run, and their records say why.
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
    """Stands for the work of a real shop."""
    with JOURNAL.open("a", encoding="utf-8") as journal:
        journal.write(f"{line}\n")


def reserve(item: str) -> None:
    """The first task; the later ones rely on it."""
    if item not in STOCK:
        raise LookupError(f"{item!r} is not in stock")
    note(f"reserved {item}")


async def pack(item: str) -> None:
    """`def` and `async def` tasks mix; the order is kept all the same."""
    note(f"packed {item}")


def announce(item: str) -> None:
    """Runs only if everything before it went well."""
    note(f"announced {item}")


@app.post("/orders")
async def order(
    item: Annotated[str, Query(pattern="^[a-z]{1,20}$")], background_tasks: BackgroundTasks
) -> list[str]:
    """Three jobs, stored together: all of them or, if that fails, none and a 503."""
    return [background_tasks.add_task(task, item).id for task in (reserve, pack, announce)]


@app.get("/jobs/{job_id}")
async def job(job_id: UUID) -> JobState:
    """What has become of a job."""
    record = await afterword.job(str(job_id))
    if record is None:
        raise HTTPException(404)
    return record.state
