"""A slow request is answered at once with 202, and its client follows the job to its result.

    uvicorn examples.status:app
    curl -i localhost:8000/counts -H 'Authorization: Bearer ada-s3cret' --json '{"text": "to be"}'
    curl -H 'Authorization: Bearer ada-s3cret' localhost:8000/jobs/...     # the Location above
    curl -H 'Authorization: Bearer ada-s3cret' localhost:8000/jobs/.../result

`jobs_router` has routes that show a job and its result, and cancel it; they are in the API's
documentation, http://localhost:8000/docs. Users see only their own jobs: a job has its owner's name
as a tag, and `authorize` checks it.
"""

import time
from collections import Counter
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from afterword import Afterword, current_task
from afterword.fastapi import Accepted, BackgroundTasks

USERS = {"ada-s3cret": "ada", "bob-s3cret": "bob"}  # yours are in a database, with hashed tokens

app = FastAPI()
afterword = Afterword(app)
bearer = HTTPBearer()


def current_user(sent: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    """Return the name of the user."""
    user = USERS.get(sent.credentials)
    if user is None:
        raise HTTPException(401, "Unknown token", {"WWW-Authenticate": "Bearer"})
    return user


User = Annotated[str, Depends(current_user)]


async def owner(job_id: str, user: User) -> None:
    """A dependency like any other: it may take the path's `job_id`, and raises to refuse."""
    job = await afterword.job(job_id)
    if job is None or job.record is None or f"owner:{user}" not in job.record.tags:
        raise HTTPException(404, "No such job")


app.include_router(afterword.jobs_router(authorize=owner))


def count_words(text: str, seconds_per_word: float) -> dict[str, int]:
    """Count words; the return value is stored as JSON and is the job's result."""
    counted: Counter[str] = Counter()
    for word in text.split():
        if current_task().cancelled:  # by a DELETE
            break
        time.sleep(seconds_per_word)  # the work
        counted[word] += 1
    if not counted:
        raise ValueError("there are no words in this text")
    return dict(counted)


@app.post("/counts", status_code=202, responses=Accepted.responses)
async def count(
    text: Annotated[str, Body(embed=True)],
    user: User,
    background_tasks: BackgroundTasks,
    seconds_per_word: float = 0.1,
) -> Accepted:
    """The answer's `Location` leads to the job."""
    tasks = background_tasks.options(tags=[f"owner:{user}"])
    return Accepted(tasks.add_task(count_words, text, seconds_per_word))
