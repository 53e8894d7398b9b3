"""A shop, as a user of Afterword would write it.

Every order adds a task, every second order two. A task takes its time, and then writes a line into
the ledger, so that it can be seen from outside what really ran.
"""

import asyncio
import time

from fastapi import FastAPI

from afterword import Afterword, task
from afterword.demo.ledger import write_line
from afterword.fastapi import BackgroundTasks

app = FastAPI(title="Afterword demo")
# Four at a time, so that there is a backlog when the server is killed.
afterword = Afterword(app, concurrency=4)


@app.post("/orders/{number}")
async def place_order(number: int, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Answer with the tasks that this answer promises: job id and task."""
    jobs = [background_tasks.add_task(pack_order, number)]
    if number % 2:
        jobs.append(background_tasks.add_task(send_receipt, number, to=f"{number}@shop.example"))
    return {job.id: job.task for job in jobs}


@task
def pack_order(number: int) -> None:
    """A `def` task."""
    time.sleep(0.02 + number % 5 / 100)  # 20 to 60 ms
    write_line("pack_order", number)


@task
async def send_receipt(number: int, to: str) -> None:
    """An `async def` task."""
    await asyncio.sleep(0.01 + number % 3 / 100)  # 10 to 30 ms
    write_line("send_receipt", number)
