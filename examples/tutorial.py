"""The result of docs/tutorial.md: a slow task that survives `kill -9`, and a route for its job.

uvicorn examples.tutorial:app
"""

import time
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, HTTPException, Query

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app)


def brew(cup: str, seconds: float) -> None:
    """Take a while, then note that the cup is ready."""
    if cup == "coffee":
        raise ValueError("this is a teapot")
    time.sleep(seconds)
    with Path("cups.log").open("a", encoding="utf-8") as log:
        log.write(f"{cup} is ready\n")


@app.post("/cups/{cup}")
async def order(
    cup: str, background_tasks: BackgroundTasks, seconds: Annotated[float, Query(ge=0, le=60)] = 10
) -> dict[str, str]:
    """Answer at once; the cup follows."""
    job = background_tasks.add_task(brew, cup, seconds)
    return {"message": f"Your {cup} is coming", "job": job.id}


@app.get("/jobs/{job_id}")
async def show(job_id: UUID) -> dict[str, str | int | None]:
    """Show the state of a job."""
    job = await afterword.job(str(job_id))
    if job is None:
        raise HTTPException(404, "No such job")
    return {"state": job.state, "attempt": job.attempt}
