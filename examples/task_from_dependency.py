"""A dependency adds a task, too: it shares the request's BackgroundTasks with the handler.

    uvicorn examples.task_from_dependency:app
    curl -X DELETE localhost:8000/documents/7 -H 'X-User: ada'

audit.log gets "ada may delete 7" from the dependency, then "7 deleted" from the handler: tasks run
in the order in which they were added. A request without X-User is refused. A refused request leaves
no jobs, even if a dependency adds a task and then raises.
"""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException

from afterword import Afterword
from afterword.fastapi import BackgroundTasks

AUDIT = Path("audit.log")
PROTECTED = frozenset({1})

app = FastAPI()
afterword = Afterword(app)


def write_audit(line: str) -> None:
    """Append one line."""
    with AUDIT.open("a", encoding="utf-8") as audit:
        audit.write(f"{line}\n")


def deletable(
    document_id: int,
    x_user: Annotated[str, Header(pattern="^[a-z]{1,20}$")],
    background_tasks: BackgroundTasks,
) -> int:
    """Return the id of a document that this user may delete."""
    background_tasks.add_task(write_audit, f"{x_user} may delete {document_id}")
    if document_id in PROTECTED:
        raise HTTPException(403)  # and the line above is never written
    return document_id


@app.delete("/documents/{document_id}", status_code=202)
async def delete(
    document: Annotated[int, Depends(deletable)], background_tasks: BackgroundTasks
) -> None:
    """Delete the document; the handler's task runs after the dependency's."""
    background_tasks.add_task(write_audit, f"{document} deleted")
