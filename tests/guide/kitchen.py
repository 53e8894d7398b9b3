"""The application of the chapters that start and kill real processes."""

import time
from pathlib import Path

from fastapi import FastAPI

from afterword import Afterword, current_task
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app)  # the environment variable AFTERWORD_URL names the store


def brew(cup: str, seconds: float) -> None:
    """Write down each step, for other processes to read. The first attempt takes a while."""
    attempt = current_task().attempt
    write(f"{cup}: attempt {attempt}")
    time.sleep(seconds if attempt == 1 else 0)
    write(f"{cup} is ready")


def write(line: str) -> None:
    """Add a line to the log of all processes."""
    with Path("kitchen.log").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@app.post("/cups/{cup}")
async def order(cup: str, background_tasks: BackgroundTasks, seconds: float = 0) -> str:
    """Answer at once; the cup follows."""
    return background_tasks.add_task(brew, cup, seconds).id
