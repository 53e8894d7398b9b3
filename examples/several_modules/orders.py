"""Orders: a route, and the task that it adds."""

from pathlib import Path

from fastapi import APIRouter

from afterword import Job, task
from afterword.fastapi import AfterwordDep, BackgroundTasks

router = APIRouter(prefix="/orders")


@task(tags=["mail"])
def send_receipt(order: int) -> None:
    """Write the receipt to a file, in place of a mail."""
    with Path("receipts.log").open("a", encoding="utf-8") as log:
        log.write(f"receipt for order {order}\n")


@router.post("/{order}")
async def buy(order: int, background_tasks: BackgroundTasks) -> Job[None]:
    """Accept an order; the receipt follows."""
    return background_tasks.add_task(send_receipt, order)


@router.get("/receipts/{job_id}")
async def show(job_id: str, afterword: AfterwordDep) -> dict[str, str]:
    """Show whether the receipt was sent; this module does not import the Afterword."""
    job = await afterword.job(job_id)
    return {"state": job.state if job else "unknown"}
