"""A computing task runs in its own process, and the server goes on answering.

    uvicorn examples.cpu_work:app
    curl -X POST 'localhost:8000/primes?below=300000'
    curl localhost:8000/primes/...                      # the id in the answer
    curl -X DELETE localhost:8000/primes/...            # kills the process

In a thread, the same work would hold Python's interpreter lock and slow everything else down,
requests included. And a thread cannot be stopped, but a process is killed when its time is over or
its job is cancelled. The process imports this module, and starts neither a server nor a worker.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query

from afterword import Afterword, Job, task
from afterword.fastapi import BackgroundTasks

app = FastAPI()
afterword = Afterword(app)


def is_prime(number: int) -> bool:
    """Test a number by trial division, which is slow on purpose."""
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))


@task(executor="process", timeout=600)
def count_primes(below: int) -> int:
    """Compute, and touch nothing else. The return value is the job's result."""
    return sum(map(is_prime, range(below)))


@app.post("/primes", status_code=202)
async def order(
    below: Annotated[int, Query(ge=0, le=1_000_000_000)], background_tasks: BackgroundTasks
) -> dict[str, str]:
    """Add it like any other task."""
    return {"job": background_tasks.add_task(count_primes, below).id}


async def found(job_id: UUID) -> Job[int]:
    """Find a job by its id; a real application checks that it is the client's own."""
    job = await afterword.job(str(job_id))
    if job is None:
        raise HTTPException(404, "No such job")
    return job


@app.get("/primes/{job_id}")
async def show(job: Annotated[Job[int], Depends(found)]) -> dict[str, str | int | None]:
    """Show the number of primes, `null` until the job has ended."""
    return {"state": job.state, "primes": job.result}


@app.delete("/primes/{job_id}", status_code=202)
async def stop(job: Annotated[Job[int], Depends(found)]) -> dict[str, bool]:
    """Kill the process; False if the job had ended already."""
    return {"asked": await job.cancel("the client lost interest")}
