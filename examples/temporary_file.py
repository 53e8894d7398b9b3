"""A file is made for one answer, and deleted when it has been sent.

    uvicorn examples.temporary_file:app
    curl 'localhost:8000/exports?rows=1000' --output export.csv

Nothing of a request runs before its body has been sent, so the file is there as long as it is
needed. Killed in the middle of sending, the process leaves the file behind; the job is stored, and
deletes it after the next start.

The task is a function of our own. `os.unlink` belongs to Python, and jobs may only name functions
of the application: stored text must never be able to call just anything.
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
    """A generated name in a folder that is readable by us alone."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return FOLDER / f"{export}.csv"


def write_export(export: UUID, rows: int) -> Path:
    """Make the file."""
    path = path_of(export)
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "square"])
        writer.writerows((number, number**2) for number in range(rows))
    return path


def delete_export(export: UUID) -> None:
    """The id says which file; a stored path could say any."""
    path_of(export).unlink(missing_ok=True)


@app.get("/exports")
def download(
    rows: Annotated[int, Query(ge=0, le=100_000)], background_tasks: BackgroundTasks
) -> FileResponse:
    """The client sees a friendly name, the disk does not."""
    export = uuid4()
    background_tasks.add_task(delete_export, export)
    return FileResponse(write_export(export, rows), filename="squares.csv", media_type="text/csv")
