"""A file is created for one answer, and deleted after it was sent.

    uvicorn examples.temporary_file:app
    curl 'localhost:8000/exports?rows=1000' --output export.csv

A request's tasks run after its body has been sent, so the file exists as long as it is needed. If
the process is killed while sending, the file is left behind. The job is stored, and deletes it
after the next start.

The task is the application's own function. It cannot be `os.unlink`, because jobs may name only
functions of the application: stored text must not be able to call arbitrary code.
"""

import csv
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

FOLDER = Path("exports")

app = FastAPI()
afterword = Afterword(app)


def path_of(export: UUID) -> Path:
    """Return a generated path in a folder that only this user can read."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return FOLDER / f"{export}.csv"


def write_export(export: UUID, rows: int) -> Path:
    """Write the file."""
    path = path_of(export)
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "square"])
        writer.writerows((number, number**2) for number in range(rows))
    return path


def delete_export(export: UUID) -> None:
    """Delete the file; an id, unlike a stored path, cannot name any other file."""
    path_of(export).unlink(missing_ok=True)


@app.get("/exports")
def download(
    rows: Annotated[int, Query(ge=0, le=100_000)], background_tasks: BackgroundTasks
) -> FileResponse:
    """Send the file, under a name that is meant for the client."""
    export = uuid4()
    background_tasks.add_task(delete_export, export)
    return FileResponse(write_export(export, rows), filename="squares.csv", media_type="text/csv")
