"""A webhook is called after the answer, with a timeout and an idempotency key.

    WEBHOOK_URL=http://localhost:9000/hook uvicorn examples.webhook:app
    curl localhost:8000/payments --json '{"order": 7, "cents": 1250}'

A task that was interrupted by a crash runs again, so the receiver may get the event twice. The key
is made once, in the route, and stored with the job, so the receiver can recognise a repetition. The
URL is configuration: if clients could choose it, they could call your intranet.
"""

import os
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, Field

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

WEBHOOK_URL = os.environ.get("WEBHOOK_URL", "http://localhost:9000/hook")
TIMEOUT = httpx.Timeout(10.0, connect=3.0)  # without it, a silent receiver blocks the task for ever

app = FastAPI()
afterword = Afterword(app)


class Payment(BaseModel):
    """An argument of a task: a Pydantic model is stored as JSON, and the task gets it back."""

    order: int = Field(gt=0)
    cents: int = Field(gt=0)


async def call_webhook(payment: Payment, key: UUID) -> None:
    """Call the receiver; an error status, a timeout or a lost connection fails the job."""
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        response = await client.post(
            WEBHOOK_URL,
            json={"event": "paid", **payment.model_dump()},
            headers={"Idempotency-Key": str(key)},
        )
        response.raise_for_status()


@app.post("/payments", status_code=202)
async def pay(payment: Payment, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Answer without waiting for the receiver."""
    job = background_tasks.add_task(call_webhook, payment, key=uuid4())
    return {"job": job.id}
