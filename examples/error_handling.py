"""Errors in the route and in the task, and where to see them.

    uvicorn examples.error_handling:app
    curl -X POST localhost:8000/refunds/0               # the route raises: nothing is stored
    curl -X POST localhost:8000/refunds/13              # the task raises
    curl localhost:8000/refunds/jobs/...                # the id in the answer

The client gets its 202 before the task starts, so the answer cannot contain the task's error. The
job's record does: `(await afterword.job(id)).error` is the traceback as text. It is also in the log
of the process, under the name "afterword". Both are for you; clients only see that it failed.
"""

import logging
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException

from afterword import Afterword, Job, JobState
from afterword.fastapi import BackgroundTasks

logger = logging.getLogger(__name__)

MESSAGES = {
    JobState.COMPLETED: "The money is on its way",
    JobState.FAILED: "That did not work; we have been told",
}

app = FastAPI()
afterword = Afterword(app)


class RefundRefused(Exception):
    """A refusal by the bank."""


def refund(order: int) -> None:
    """Pay back; an error ends the job as failed, and reaches neither client nor server."""
    if order == 13:
        raise RefundRefused("account closed")
    logger.info("refunded order=%d", order)


@app.post("/refunds/{order}", status_code=202)
async def start_refund(order: int, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Add the task; if this function raises, the tasks that it has added are not stored."""
    job = background_tasks.add_task(refund, order)
    if order < 1:
        raise HTTPException(404, "No such order")
    return {"job": job.id}


async def found(job_id: UUID) -> Job[Any]:
    """Find a job by its id; a real application checks that it is the client's own."""
    job = await afterword.job(str(job_id))
    if job is None:
        raise HTTPException(404, "No such job")
    return job


@app.get("/refunds/jobs/{job_id}")
async def show(job: Annotated[Job[Any], Depends(found)]) -> dict[str, str]:
    """Show the state, and a sentence for people."""
    return {"state": job.state, "message": MESSAGES.get(job.state, "On its way")}
