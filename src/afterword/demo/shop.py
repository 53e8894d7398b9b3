"""The shop behind `afterword demo --dashboard`: its tasks take long enough to be watched."""

import asyncio
import logging
import random
import time

from fastapi import FastAPI

from afterword import Afterword, current_task, task
from afterword.demo.day import DECLINED, Kind
from afterword.fastapi import BackgroundTasks

_FRAMES = 40
_log = logging.getLogger("shop")
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = FastAPI(title="Afterword demo")
afterword = Afterword(
    app, concurrency=8, queues=("default", "mail", "images"), order="concurrent", log_lines=50
)


@app.post("/orders/{number}")
async def place_order(number: int, background_tasks: BackgroundTasks) -> None:
    """Add the tasks of an order."""
    background_tasks.add_task(pack_order, number)
    background_tasks.add_task(send_receipt, number)
    background_tasks.add_task(capture_payment, number)
    if number % 12 == 1:
        background_tasks.add_task(render_film, number)


@task
def pack_order(number: int) -> None:
    """Take about two seconds."""
    _log.info("packing order %s", number)
    time.sleep(random.uniform(1, 3))


@task(queue="mail")
async def send_receipt(number: int) -> None:
    """Take about half a second."""
    _log.info("writing the receipt of order %s", number)
    await asyncio.sleep(random.uniform(0.2, 0.8))


@task(retries=1, backoff=20)
def capture_payment(number: int) -> None:
    """Fail now and then."""
    time.sleep(random.uniform(0.1, 0.4))
    if random.random() < 0.08:
        _log.warning("the bank declines order %s", number)
        raise RuntimeError(f"order {number} was declined by the bank")


@task(queue="images")
async def render_film(number: int) -> None:
    """Take twenty seconds, and report progress."""
    progress = current_task().progress
    for frame in range(_FRAMES):
        await asyncio.sleep(0.5)
        progress.update(frame + 1, _FRAMES, f"rendering the film of order {number}")


KINDS = tuple(
    Kind(f"{__name__}:{function}", queue, share, typical, fails, error, "number")
    for function, queue, share, typical, fails, error in (
        ("pack_order", "default", 0.32, 1.9, 0.0, ""),
        ("send_receipt", "mail", 0.32, 0.5, 0.0, ""),
        ("capture_payment", "default", 0.32, 0.25, 0.006, DECLINED),
        ("render_film", "images", 0.03, 20.2, 0.0, ""),
    )
)
