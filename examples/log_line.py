"""A line is written to a log after the answer: the smallest use of Afterword.

    uvicorn examples.log_line:app
    curl -X POST localhost:8000/visits/ada

Once `curl` has its answer, the line will be in visits.log. If the process is killed first, the line
is written after the next start. (If it is killed between writing the line and recording that the
job is done, it writes the line again; later examples show how to handle that where it matters.)
"""

from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

LOG = Path("visits.log")

app = FastAPI()
afterword = Afterword(app)


def write_line(visitor: str, seen_at: datetime) -> None:
    """Append one line, with the time of the visit instead of the time of writing."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"{seen_at.isoformat()} {visitor!r}\n")


@app.post("/visits/{visitor}")
async def visit(visitor: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Answer at once, write later."""
    background_tasks.add_task(write_line, visitor, seen_at=datetime.now(UTC))
    return {"message": f"Welcome, {visitor}"}
