"""A Celery fleet keeps doing the work: jobs are stored here, then handed over to it.

redis-server
celery -A examples.celery_fleet.celery worker
uvicorn examples.celery_fleet:app
"""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import Accepted, BackgroundTasks

REDIS = os.environ.get("REDIS_URL", "redis://localhost:6379")
celery = Celery("shop", broker=f"{REDIS}/0", backend=f"{REDIS}/1")

app = FastAPI()
afterword = Afterword(app)
# For development: anyone may ask. See docs/status-api.md.
app.include_router(afterword.jobs_router(authorize=lambda: True, ask_fleets=True))


@celery.task(bind=True)
def send_receipt(self: Any, order_id: int) -> None:
    with Path("receipts.txt").open("a", encoding="utf-8") as file:
        file.write(f"{self.request.id} order {order_id}\n")


@app.post("/orders/{order_id}", status_code=202)
async def order(order_id: int, background_tasks: BackgroundTasks) -> Accepted:
    return Accepted(background_tasks.add_task(send_receipt, order_id))
