"""A shop, as a user of Afterword would write it.

Every order adds a task, every second order two. A task takes some time, and then writes a line into
the ledger, which shows from outside which tasks really ran.
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
    """Return the tasks that this response promises: job id and task name."""
    jobs = [background_tasks.add_task(pack_order, number)]
    if number % 2:
        jobs.append(background_tasks.add_task(send_receipt, number, to=f"{number}@shop.example"))
    return {job.id: job.task for job in jobs}


@task
def pack_order(number: int) -> None:
    """Take 20 to 60 ms; an example of a `def` task."""
    time.sleep(0.02 + number % 5 / 100)
    write_line("pack_order", number)


@task
async def send_receipt(number: int, to: str) -> None:
    """Take 10 to 30 ms; an example of an `async def` task."""
    await asyncio.sleep(0.01 + number % 3 / 100)
    write_line("send_receipt", number)
