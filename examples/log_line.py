"""A line is written to a log after the answer: the smallest use of Afterword.

    uvicorn examples.log_line:app
    curl -X POST localhost:8000/visits/ada

Once `curl` has its answer, the line will be in visits.log, even if the process is killed now: then
it is written after the next start. (A process killed between writing the line and recording that
the job is done writes it again; the later examples show what to do where that would matter.)
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
    """Append one line; it says when the visit was, not when the line was written."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"{seen_at.isoformat()} {visitor!r}\n")


@app.post("/visits/{visitor}")
async def visit(visitor: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Answer at once, write later."""
    background_tasks.add_task(write_line, visitor, seen_at=datetime.now(UTC))
    return {"message": f"Welcome, {visitor}"}
