"""Scheduled tasks: a clean-up every second, and a report on the mornings of working days.

    uvicorn examples.schedule:app
    curl -X POST localhost:8000/drafts/poem             # it is deleted a minute later
    curl localhost:8000/drafts
    curl -X POST localhost:8000/reports                 # the same task by hand

It needs neither a crontab nor a second process. An occurrence becomes one job, even if many
processes of the application run. Jobs of schedules are stored, retried and shown like all others.
`afterword schedules` lists the schedules and their next times.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from fastapi import Path as InPath

from afterword import Afterword, task
from afterword.fastapi import BackgroundTasks

FOLDER = Path("drafts")
REPORT = Path("drafts.log")
KEPT_FOR = float(os.environ.get("KEPT_FOR", "60"))  # seconds

app = FastAPI()
afterword = Afterword(app)


def drafts() -> list[Path]:
    """List the drafts."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return sorted(FOLDER.iterdir())


# Runs that were missed while no process ran are skipped: the next one does their work.
@afterword.every(seconds=1, missed="skip")
def sweep() -> None:
    """Delete old drafts; a second run at the same time does no harm."""
    for draft in drafts():
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > KEPT_FOR:
                draft.unlink()


# At nine o'clock in Berlin, in summer and winter; a missed morning is made up for.
@afterword.every("0 9 * * MON-FRI", timezone="Europe/Berlin", name="morning-report")
@task(retries=3)
def report() -> None:
    """Write down the number of drafts."""
    with REPORT.open("a", encoding="utf-8") as file:
        file.write(f"{len(drafts())} drafts\n")


@app.post("/drafts/{name}", status_code=201)
def write(name: Annotated[str, InPath(pattern="^[a-z]{1,20}$")]) -> None:
    """Keep a draft for a while."""
    drafts()
    (FOLDER / name).touch()


@app.get("/drafts")
def show() -> list[str]:
    """Show the names of the drafts."""
    return [draft.name for draft in drafts()]


@app.post("/reports", status_code=202)
async def report_now(background_tasks: BackgroundTasks) -> dict[str, str]:
    """Add a job by hand: scheduled functions remain plain functions and tasks."""
    return {"job": background_tasks.add_task(report).id}
