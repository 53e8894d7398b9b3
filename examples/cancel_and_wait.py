"""A client waits for a job, or cancels it, and the task cleans up.

    uvicorn examples.cancel_and_wait:app
    curl -X POST 'localhost:8000/renderings?frames=100'
    curl 'localhost:8000/renderings/...?wait=20'        # the id in the answer
    curl -X DELETE localhost:8000/renderings/...

With `wait`, a request sleeps until the job has ended, so the client gets the result at once and
need not poll. A cancelled `async def` task gets asyncio's CancelledError where it awaits. Its
`finally` runs, and may await, too.
"""

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query

from afterword import Afterword, Job, current_task
from afterword.fastapi import BackgroundTasks

FOLDER = Path("renderings")

app = FastAPI()
afterword = Afterword(app)


async def render(frames: int) -> str:
    """Write frame by frame, and leave either the whole file or nothing; returns its name."""
    part = FOLDER / f"{current_task().job_id}.part"
    try:
        part.write_text("")  # a second attempt begins again
        for frame in range(frames):
            await asyncio.sleep(0.05)  # the work
            with part.open("a", encoding="utf-8") as file:
                file.write(f"frame {frame}\n")
        return part.rename(part.with_suffix(".txt")).name
    finally:
        part.unlink(missing_ok=True)


@app.post("/renderings", status_code=202)
def order(
    frames: Annotated[int, Query(ge=1, le=10_000)], background_tasks: BackgroundTasks
) -> dict[str, str]:
    """Answer at once. It is `def`, because making a folder blocks."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return {"job": background_tasks.add_task(render, frames).id}


async def found(job_id: UUID) -> Job[str]:
    """Find a job by its id; a real application checks that it is the client's own."""
    job = await afterword.job(str(job_id))
    if job is None:
        raise HTTPException(404, "No such job")
    return job


Rendering = Annotated[Job[str], Depends(found)]


@app.get("/renderings/{job_id}")
async def show(
    job: Rendering, wait: Annotated[float, Query(ge=0, le=25)] = 0
) -> dict[str, str | None]:
    """Answer when the job has ended, or after `wait` seconds at the latest."""
    try:
        await job.wait(timeout=wait)
    except TimeoutError:
        await job.refresh()
    return {"state": job.state, "file": job.result}


@app.delete("/renderings/{job_id}", status_code=202)
async def stop(job: Rendering) -> dict[str, bool]:
    """Cancel a queued job now, a running one when it has cleaned up; False if it had ended."""
    return {"asked": await job.cancel("the client lost interest")}
