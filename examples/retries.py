"""A call to a service that is not always there: what is tried again, what is not, and for how long.

    CARRIER_URL=http://localhost:9000 uvicorn examples.retries:app
    curl -X POST localhost:8000/parcels/7
    curl localhost:8000/jobs/...                        # the id in the answer

While the carrier is away or has errors of its own, the job is tried again: after about a second,
then two, four and so on, five times. When the carrier says how long to wait, that is how long. What
can never work ends the job at once. The key is the same for all attempts, so that a parcel whose
answer got lost on its way is not sent twice.
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
LONGEST_WAIT = 3600.0  # seconds, whatever the carrier asks for

app = FastAPI()
afterword = Afterword(app)


class CarrierError(Exception):
    """The carrier has an error of its own: 500 and above."""


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
            raise Cancel("the parcel was withdrawn")  # nothing to do, and nothing went wrong
        case status if status >= 500:
            raise CarrierError(f"the carrier answered {status}")
    response.raise_for_status()  # any other 4xx is none of retry_on: the job fails
    return response.text


def seconds_to_wait(response: httpx.Response) -> float:
    """The carrier's Retry-After; it may be a date, too, which we take for a minute."""
    said = response.headers.get("Retry-After", "")
    return min(float(said), LONGEST_WAIT) if said.isdecimal() else 60.0


@app.post("/parcels/{parcel}", status_code=202)
async def send(
    parcel: Annotated[int, InPath(ge=1)], background_tasks: BackgroundTasks
) -> dict[str, str]:
    """Answer at once, whether the carrier is there or not."""
    return {"job": background_tasks.add_task(send_parcel, parcel).id}


@app.get("/jobs/{job_id}")
async def show(job_id: UUID) -> dict[str, str | int | None]:
    """While it waits for its next attempt, a job is queued, and its attempt is above 0."""
    job = await afterword.job(str(job_id))
    if job is None:
        raise HTTPException(404, "No such job")
    return {"state": job.state, "attempt": job.attempt, "number": job.result}
