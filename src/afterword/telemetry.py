"""Events become log lines here, and nowhere else.

A line is: verb, job id, task, attempt, then key=value. Arguments never appear in it. The logger is
`afterword`; its level and handlers are the application's business.
"""

import logging
import threading

from afterword.outcome import Completed, Outcome

logger = logging.getLogger("afterword")

_warned: set[str] = set()
_warned_lock = threading.Lock()


def started(url: str, durability: str, worker: str, concurrency: int | None) -> None:
    """The application is ready to keep its promise."""
    runs = f"concurrency={concurrency}" if concurrency else "stores only"
    logger.info("started store=%s durability=%s worker=%s %s", url, durability, worker, runs)


def stopped(worker: str, left: int) -> None:
    """The worker has drained; `left` attempts could not be ended."""
    logger.info("stopped worker=%s left=%d", worker, left)


def ended(job_id: str, task: str, attempt: int, outcome: Outcome, seconds: float) -> None:
    """An attempt has ended and is on record."""
    verb = type(outcome).__name__.lower()
    level = logging.DEBUG if isinstance(outcome, Completed) else logging.WARNING
    error = getattr(outcome, "error", None) or getattr(outcome, "reason", None)
    level = logging.ERROR if verb == "failed" else level
    if logger.isEnabledFor(level):
        detail = f"\n{error}" if error else ""
        line = "%s job=%s task=%s attempt=%d seconds=%.3f%s"
        logger.log(level, line, verb, job_id, printable(task), attempt, seconds, detail)


def lost_lease(job_id: str, task: str, attempt: int) -> None:
    """An attempt's outcome was refused: the job has been given to somebody else."""
    logger.warning("lost_lease job=%s task=%s attempt=%d", job_id, printable(task), attempt)


def recovered(job_id: str, task: str, attempt: int, lost: int, state: str) -> None:
    """A job was taken from a lost worker."""
    line = "recovered job=%s task=%s attempt=%d lost=%d state=%s"
    logger.warning(line, job_id, printable(task), attempt, lost, state)


def claim_failed(error: Exception) -> None:
    """The worker could not ask the store for jobs; it will try again."""
    logger.warning("claim_failed: %s", printable(str(error)))


def settle_failed(job_id: str, error: BaseException) -> None:
    """An outcome could not be written, and writing it again would not help."""
    logger.error("settle_failed job=%s: %s", job_id, printable(str(error)))


def put_back(job_id: str, task: str, reason: str) -> None:
    """This worker cannot run the job; it stays in the store."""
    logger.warning("put_back job=%s task=%s reason=%s", job_id, printable(task), printable(reason))


def not_durable(task: str, reason: str) -> None:
    """A call runs in the request because it cannot be stored; said once per function."""
    if _first_time(task):
        logger.warning(
            "not_durable task=%s: it runs in the request, as with FastAPI. %s", task, reason
        )


def not_started() -> None:
    """Tasks run in the request because the application's lifespan has not run; said once."""
    if _first_time("<not started>"):
        logger.warning(
            "not_started: the lifespan of the application has not run, so its tasks run in their"
            " requests and are not durable. In production, run the application with its"
            " lifespan; in a test, use `with TestClient(app) as client:`."
        )


def task_failed(task: str, error: str) -> None:
    """A task that ran in its request raised."""
    logger.error("failed task=%s in its request\n%s", printable(task), error)


def not_stored(reason: str) -> None:
    """A request was answered with 503, or a late task was not kept."""
    logger.error("not_stored reason=%s", printable(reason))


def printable(text: str) -> str:
    """Text that cannot forge a line or move a cursor.

    >>> printable("a\\nb")
    'a\\\\nb'
    """
    return text if text.isprintable() else repr(text)[1:-1]


def _first_time(key: str) -> bool:
    with _warned_lock:
        first = key not in _warned
        _warned.add(key)
        return first
