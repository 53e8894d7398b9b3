"""The log: the only module that turns events into log lines.

A line is: verb, job id, task, attempt, then key=value. It never contains arguments or results, and
long values are cut. The logger is `afterword`; the application sets its level and handlers.
"""

import logging
import threading
import traceback

from afterword.model.outcome import (
    Completed,
    HandedOver,
    Outcome,
    RetryAt,
    describe,
    summarize,
)

logger = logging.getLogger("afterword")
LINE_LIMIT = 2_000  # characters of each value in a line

_warned: set[str] = set()
_warned_lock = threading.Lock()


def started(url: str, durability: str, worker: str, concurrency: int | None) -> None:
    """The application is ready to store jobs."""
    runs = f"concurrency={concurrency}" if concurrency else "stores only"
    _log(logging.INFO, "started store=%s durability=%s worker=%s %s", url, durability, worker, runs)


def polling(url: str) -> None:
    """The store cannot notify this process of new jobs."""
    line = (
        "polling store=%s: a pooler between this process and the server blocks notifications, so"
        " jobs of other processes are looked for once a second. To start them sooner, connect to"
        " the server directly."
    )
    _log(logging.WARNING, line, url)


def clock_differs(fast: float, url: str) -> None:
    """This host's clock differs from the store's; logged once."""
    if _first_time("<clock>"):
        line = (
            "clock_differs seconds=%+.1f store=%s: this host's clock is wrong, or the store's is."
            " Jobs follow the store's clock. Set the wrong one, for instance by NTP."
        )
        _log(logging.WARNING, line, fast, url)


def stopped(worker: str, left: int) -> None:
    """The worker has drained; `left` attempts could not be ended."""
    still = f"{left} of its attempts still run" if left else "all of its attempts have ended"
    _log(logging.INFO, "stopped worker=%s: %s", worker, still)


def ended(job_id: str, task: str, attempt: int, outcome: Outcome, seconds: float) -> None:
    """An attempt has ended, and its outcome is stored."""
    succeeded = isinstance(outcome, Completed | HandedOver)
    if succeeded and not logger.isEnabledFor(logging.DEBUG):
        return
    verb = verb_of(outcome)
    level = logging.DEBUG if succeeded else logging.WARNING
    error = getattr(outcome, "error", None) or getattr(outcome, "reason", None)
    level = logging.ERROR if verb == "failed" else level
    if logger.isEnabledFor(level):
        line = "%s job=%s task=%s attempt=%d seconds=%.3f"
        _log(level, line, verb, job_id, task, attempt, seconds, detail=error)


def verb_of(outcome: Outcome) -> str:
    """Name an outcome in logs, spans and metrics.

    >>> verb_of(Completed()), verb_of(RetryAt(5.0, "no route to host"))
    ('completed', 'retry')
    """
    return _VERBS.get(type(outcome)) or type(outcome).__name__.lower()


_VERBS: dict[type[Outcome], str] = {RetryAt: "retry", HandedOver: "handed_over"}


def result_not_kept(task: str, reason: str) -> None:
    """A result cannot be stored; its job is completed; logged once per task."""
    if _first_time(f"result of {task}"):
        line = "result_not_kept task=%s: the job is completed, but its result is lost: %s"
        _log(logging.WARNING, line, task, reason)


def overrun(job_id: str, task: str, attempt: int, *, slot_freed: bool) -> None:
    """An attempt has ended in the store, but its code still runs: a thread cannot be stopped."""
    freed = "another thread takes its place" if slot_freed else "degraded: it keeps its slot"
    line = "overrun job=%s task=%s attempt=%d: its time is over, but its code still runs; %s"
    _log(logging.WARNING, line, job_id, task, attempt, freed)


def lost_lease(job_id: str, task: str, attempt: int) -> None:
    """An attempt's outcome was refused: the job has been given to another worker."""
    _log(logging.WARNING, "lost_lease job=%s task=%s attempt=%d", job_id, task, attempt)


def missed(name: str, count: int, policy: str) -> None:
    """No process was running for some occurrences of a schedule."""
    _log(logging.WARNING, "missed schedule=%s occurrences=%d policy=%s", name, count, policy)


def recovered(job_id: str, task: str, attempt: int, lost: int, state: str) -> None:
    """A job was taken from a lost worker."""
    line = "recovered job=%s task=%s attempt=%d lost=%d state=%s"
    _log(logging.WARNING, line, job_id, task, attempt, lost, state)


def not_recovered(job_id: str, error: BaseException) -> None:
    """The store cannot recover a job from its lost worker; logged once per job."""
    if _first_time(f"recovery of {job_id}"):
        line = "not_recovered job=%s: its row seems to have been edited, please correct it: %s"
        _log(logging.ERROR, line, job_id, summarize(error))


def schedule_failed(name: str, error: BaseException) -> None:
    """A schedule could not create its jobs; it is tried again, the others go on; logged once."""
    reason = summarize(error)
    if _first_time(f"schedule {name}: {reason}"):
        line = "schedule_failed schedule=%s: %s"
        _log(logging.ERROR, line, name, reason)


def freed(missing: int) -> None:
    """Jobs waited for predecessors that are missing; they were freed, or cancelled."""
    _log(logging.WARNING, "freed: jobs waited for %d that do not exist any more", missing)


def claim_failed(error: BaseException) -> None:
    """The worker could not ask the store for jobs; it will try again."""
    _log(logging.WARNING, "claim_failed: %s", summarize(error))


def settle_failed(job_id: str, error: BaseException) -> None:
    """An outcome could not be stored, and another try would fail again."""
    _log(logging.ERROR, "settle_failed job=%s: %s", job_id, summarize(error))


def postponed(error: BaseException) -> None:
    """A write that must not be lost has failed; it is tried again until it succeeds."""
    line = "postponed: a write has failed and is tried again until it succeeds: %s"
    _log(logging.ERROR, line, printable(summarize(error)))


def forgotten(job_id: str, task: str, attempt: int, state: str) -> None:
    """The store listed a job as running here, but this process did not run it any more."""
    line = "forgotten job=%s task=%s attempt=%d state=%s"
    _log(logging.ERROR, line, job_id, printable(task), attempt, state)


def put_back(job_id: str, task: str, reason: str) -> None:
    """This worker cannot run the job; it stays in the store."""
    _log(
        logging.WARNING,
        "put_back job=%s task=%s reason=%s",
        job_id,
        task,
        reason,
    )


def not_durable(task: str, reason: str) -> None:
    """A call runs in the request because it cannot be stored; logged once per function."""
    if _first_time(task):
        _log(
            logging.WARNING,
            "not_durable task=%s: it runs in the request, as with FastAPI. %s",
            task,
            reason,
        )


def not_injectable(task: str, reason: str) -> None:
    """A registered task needs a framework that no application of this process has set up."""
    line = "not_injectable task=%s: its jobs are refused here. %s"
    _log(logging.WARNING, line, task, reason)


def not_started() -> None:
    """Tasks run in the request because the application's lifespan has not run; logged once."""
    if _first_time("<not started>"):
        _log(
            logging.WARNING,
            "not_started: the lifespan of the application has not run, so its tasks run in their"
            " requests and are not durable. Serve the application with its lifespan (uvicorn:"
            " --lifespan on). If it is mounted in another one, enter its lifespan in that of the"
            " other: `async with inner.router.lifespan_context(inner): yield`."
            " In a test, use `with TestClient(app) as client:`.",
        )


def old_import(place: str, message: str) -> None:
    """Routes use background tasks that are not stored; logged once per line to change."""
    if _first_time(f"import {place}"):
        _log(logging.WARNING, "old_import line=%s", place, detail=message)


def never_confirmed(task: str) -> None:
    """A task was attached to no response, or to one that was not sent; it did not run."""
    _log(
        logging.WARNING,
        "never_confirmed task=%s: it was added to a BackgroundTask(s) of your own, but no response"
        " with it was sent, so it did not run. Return the response that has background=..., or take"
        " BackgroundTasks as a parameter of the route.",
        printable(task),
    )


def out_of_order(task: str) -> None:
    """A call that cannot be stored could not wait for the jobs before it."""
    _log(
        logging.WARNING,
        "out_of_order task=%s: it cannot be stored, so it runs in its request, which cannot wait"
        " for the jobs before it, because none of them starts now. Define the function at the top"
        " of a module.",
        printable(task),
    )


def not_run(task: str) -> None:
    """A call that cannot be stored was cancelled with its request."""
    _log(
        logging.ERROR,
        "not_run task=%s: it cannot be stored, and its request was cancelled before it could run.",
        printable(task),
    )


def task_failed(task: str, error: str) -> None:
    """A task that ran in its request raised."""
    _log(logging.ERROR, "failed task=%s in its request", task, detail=error)


def failure_call_failed(function: str, job_id: str, task: str, error: str) -> None:
    """A function that is called at failures has raised; the job is as it was."""
    line = "failure_call_failed function=%s job=%s task=%s"
    _log(logging.ERROR, line, function, job_id, task, detail=error)


def failure_call_late(function: str, job_id: str, task: str, seconds: float) -> None:
    """A function that is called at failures has not ended in time."""
    line = (
        "failure_call_late function=%s job=%s task=%s: it has not ended within %g seconds and is"
        " given up. Give the calls in it time limits of their own."
    )
    _log(logging.WARNING, line, function, job_id, task, seconds)


def failures_not_told(jobs: int, reason: str) -> None:
    """Functions that are called at failures were not called for some."""
    line = "failures_not_told jobs=%d: on_failure functions were not called for them: %s"
    _log(logging.WARNING, line, jobs, reason)


def not_committed(jobs: int) -> None:
    """A session with pending jobs was closed without a commit; the jobs do not exist."""
    line = "not_committed jobs=%d: their session was closed without a commit, so they do not exist."
    _log(logging.WARNING, line, jobs)


def failed_after_completion(job_id: str, task: str, attempt: int, outcome: Outcome) -> None:
    """A task completed its job itself, then raised or was cancelled; the job stays completed."""
    line = "failed_after_completion job=%s task=%s attempt=%d"
    _log(logging.WARNING, line, job_id, task, attempt, detail=getattr(outcome, "error", None))


def not_stored(reason: str) -> None:
    """A request was answered with 503, or a late task was not stored."""
    _log(logging.ERROR, "not_stored reason=%s", reason)


def tracing_failed(error: Exception) -> None:
    """A span could not be made, because of a processor of the application; logged once."""
    if _first_time("<tracing>"):
        _log(logging.ERROR, "tracing_failed: a job has no span: %s", summarize(error))


def step_failed(error: Exception) -> None:
    """A periodic step of the store's thread raised; it will run again."""
    _log(logging.WARNING, "step_failed: %s", summarize(error))


def old_sqlite(version: str, path: str) -> None:
    """The store cannot use WAL mode, because of this Python's SQLite; logged once."""
    if _first_time("<old sqlite>"):
        _log(
            logging.WARNING,
            "old_sqlite version=%s store=%s: several writers in WAL mode can corrupt a file, so"
            " the store keeps a rollback journal, which is slower. Use a Python with SQLite"
            " 3.51.3 or newer, or give the store a file of its own.",
            version,
            path,
        )


def wal_grows(path: str, size: int) -> None:
    """A long read transaction keeps the WAL of a SQLite file from being emptied."""
    _log(
        logging.WARNING,
        "wal_grows store=%s bytes=%d: a program keeps a read transaction open, so the WAL cannot be"
        " emptied. End that transaction; the file then shrinks by itself.",
        path,
        size,
    )


def answer_refused(error: BaseException) -> None:
    """The caller did not accept an answer or an error of the store's thread."""
    _log(logging.ERROR, "answer_refused", detail=describe(error, whole=True))


def indented(error: str) -> str:
    """Indent the lines of a traceback, so that none can pass for a log line.

    >>> indented("a\\nfailed job=1")
    '    a\\n    failed job=1'
    """
    return "\n".join(f"    {printable(line)}" for line in error.splitlines())


def printable(text: str) -> str:
    """Escape text so that it cannot forge a line or move a cursor.

    >>> printable("a\\nb")
    'a\\\\nb'
    """
    return text if text.isprintable() else repr(text)[1:-1]


def brief(text: str) -> str:
    """Shorten and escape text for a log line; at most 2,000 characters are shown.

    >>> brief("x" * 3_000)[-25:]
    'xxxxxx... (3,000 in all)'
    """
    if len(text) <= LINE_LIMIT:
        return printable(text)
    return f"{printable(text[:LINE_LIMIT])}... ({len(text):,} in all)"


def _log(level: int, line: str, *values: object, detail: str | None = None) -> None:
    """Log a line; exceptions of the application's handlers and filters are not passed on.

    Args:
        values: the arguments of the line; text may come from the store, so it is made brief.
        detail: further lines, such as a traceback.
    """
    shown = [brief(each) if isinstance(each, str) else each for each in values]
    if detail:
        line, shown = f"{line}\n%s", [*shown, indented(detail)]
    try:
        logger.log(level, line, *shown)
    except Exception:
        if logging.raiseExceptions:  # as logging itself does
            traceback.print_exc()


def _first_time(key: str) -> bool:
    with _warned_lock:
        first = key not in _warned
        _warned.add(key)
        return first
