"""Tasks that do not depend on each other run at the same time: `order="concurrent"`.

    SUPPLIERS_URL=http://localhost:9000 uvicorn examples.concurrent_tasks:app
    curl -X POST localhost:8000/inquiries/lamp

Three suppliers are asked at once. A slow one does not delay the others, and a failure does not stop
them. With the default, order="sequential", the suppliers after a failure would not be asked.
"""

import os
from pathlib import Path
from typing import Annotated
from uuid import UUID

import httpx
from fastapi import FastAPI, HTTPException
from fastapi import Path as InPath

from afterword import Afterword, JobState
from afterword.fastapi import BackgroundTasks

SUPPLIERS_URL = os.environ.get("SUPPLIERS_URL", "http://localhost:9000")
SUPPLIERS = ("north", "south", "west")
OFFERS = Path("offers.log")

app = FastAPI()
afterword = Afterword(app, order="concurrent")


def ask(supplier: str, item: str) -> None:
    """Ask one supplier, and note the offer; each task waits in its own thread."""
    response = httpx.get(f"{SUPPLIERS_URL}/{supplier}/{item}", timeout=10)
    response.raise_for_status()
    with OFFERS.open("a", encoding="utf-8") as offers:
        offers.write(f"{supplier} offers {item} for {int(response.text)}\n")


@app.post("/inquiries/{item}", status_code=202)
async def inquire(
    item: Annotated[str, InPath(pattern="^[a-z]{1,20}$")], background_tasks: BackgroundTasks
) -> dict[str, str]:
    """Add one job for each supplier."""
    return {each: background_tasks.add_task(ask, each, item).id for each in SUPPLIERS}


@app.get("/jobs/{job_id}")
async def job(job_id: UUID) -> JobState:
    """Show the state of a job."""
    record = await afterword.job(str(job_id))
    if record is None:
        raise HTTPException(404)
    return record.state
