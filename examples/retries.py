"""Calls to an unreliable service: which errors are retried, which are not, and for how long.

    CARRIER_URL=http://localhost:9000 uvicorn examples.retries:app
    curl -X POST localhost:8000/parcels/7
    curl localhost:8000/jobs/...                        # the id in the answer

While the carrier is down or answers with 5xx, the job is retried up to five times: after about a
second, then two, four and so on. If the carrier says how long to wait, the job waits that long. An
error that a retry cannot help ends the job at once. The idempotency key is the same in all
attempts, so a parcel whose answer was lost is not sent twice.
"""

import os
from typing import Annotated
from uuid import UUID

import httpx
from fastapi import FastAPI, HTTPException
from fastapi import Path as InPath

from afterword import Afterword, Cancel, Retry, current_task, task
from afterword.fastapi import BackgroundTasks

CARRIER_URL = os.environ.get("CARRIER_URL", "http://localhost:9000")
LONGEST_WAIT = 3600.0  # seconds, even if the carrier asks for more

app = FastAPI()
afterword = Afterword(app)


class CarrierError(Exception):
    """An error of the carrier: status 500 and above."""


@task(retries=5, retry_on=(httpx.TransportError, CarrierError, TimeoutError), timeout=30)
async def send_parcel(parcel: int) -> str:
    """Hand a parcel over; returns the carrier's number for it."""
    key = current_task().idempotency_key
    async with httpx.AsyncClient(timeout=10) as client:
        response = await client.post(
            f"{CARRIER_URL}/parcels/{parcel}", headers={"Idempotency-Key": key}
        )
    match response.status_code:
        case 429:
            raise Retry("the carrier asks for patience", delay=seconds_to_wait(response))
        case 410:
            raise Cancel("the parcel was withdrawn")  # nothing left to do, and no failure
        case status if status >= 500:
            raise CarrierError(f"the carrier answered {status}")
    response.raise_for_status()  # any other 4xx is not in retry_on, so the job fails
    return response.text


def seconds_to_wait(response: httpx.Response) -> float:
    """Return the carrier's Retry-After in seconds; a date counts as a minute."""
    said = response.headers.get("Retry-After", "")
    return min(float(said), LONGEST_WAIT) if said.isdecimal() else 60.0


@app.post("/parcels/{parcel}", status_code=202)
async def send(
    parcel: Annotated[int, InPath(ge=1)], background_tasks: BackgroundTasks
) -> dict[str, str]:
    """Answer at once, even if the carrier is down."""
    return {"job": background_tasks.add_task(send_parcel, parcel).id}


@app.get("/jobs/{job_id}")
async def show(job_id: UUID) -> dict[str, str | int | None]:
    """Show a job; between two attempts it is queued, and its attempt is above 0."""
    job = await afterword.job(str(job_id))
    if job is None:
        raise HTTPException(404, "No such job")
    return {"state": job.state, "attempt": job.attempt, "number": job.result}
