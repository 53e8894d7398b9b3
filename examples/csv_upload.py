"""An uploaded CSV file is counted after the answer, and removed by a second task.

    uvicorn examples.csv_upload:app
    curl localhost:8000/uploads -F file=@people.csv
    curl localhost:8000/uploads/...                     # the id in the answer

An upload is closed when its request ends, so a dependency copies it to a file first. The client
does not choose the path: it is a folder of the application, with a generated id as the name. The
task gets that id, which cannot point anywhere else.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, UploadFile

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

FOLDER = Path("uploads")
LIMIT = 10_000_000  # bytes

app = FastAPI()
# The clean-up must run even if the count failed.
afterword = Afterword(app, on_failure="continue")


def path_of(upload_id: UUID, kind: str) -> Path:
    """Make a path; no other function does."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return FOLDER / f"{upload_id}.{kind}"


def copy(source: BinaryIO, target: Path) -> None:
    """Copy an upload; refuse one of more than `LIMIT` bytes."""
    with target.open("xb") as file:
        while chunk := source.read(64 * 1024):
            file.write(chunk)
            if file.tell() > LIMIT:
                raise HTTPException(413, f"At most {LIMIT:,} bytes")


def spooled(file: UploadFile) -> Iterator[UUID]:
    """Keep the upload unless the request fails, for example because its jobs cannot be stored."""
    upload_id = uuid4()
    try:
        copy(file.file, path_of(upload_id, "csv"))
        yield upload_id
    except Exception:
        remove(upload_id)
        raise


def count_rows(upload_id: UUID) -> None:
    """Count the rows below the header; a second run gives the same result."""
    with path_of(upload_id, "csv").open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    result = path_of(upload_id, "part")
    result.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    result.replace(path_of(upload_id, "json"))  # readers see the whole file or none


def remove(upload_id: UUID) -> None:
    """Delete the copied file; in a second attempt it may be gone already."""
    path_of(upload_id, "csv").unlink(missing_ok=True)


@app.post("/uploads", status_code=202)
async def upload(
    upload_id: Annotated[UUID, Depends(spooled)], background_tasks: BackgroundTasks
) -> dict[str, UUID]:
    """Count, then clean up."""
    background_tasks.add_task(count_rows, upload_id)
    background_tasks.add_task(remove, upload_id)
    return {"id": upload_id}


def result_of(upload_id: UUID) -> Any:
    """Read the result of the count."""
    try:
        return json.loads(path_of(upload_id, "json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HTTPException(404, "Not counted (yet)") from None


@app.get("/uploads/{upload_id}")
async def show(result: Annotated[Any, Depends(result_of)]) -> Any:
    """Show the number of rows, once it is known."""
    return result
