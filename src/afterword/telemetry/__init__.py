"""Telemetry: events of the library become log lines here, and more in the modules below.

    __init__.py   the log: the only module that turns events into lines
    tracing.py    spans, by OpenTelemetry
    metrics.py    counters and histograms of this process, by OpenTelemetry
    listeners.py  checks, for each job, if spans, metrics and log lines are collected
    sentry.py     the scope of an attempt, for Sentry

A line is: verb, job id, task, attempt, then key=value. It never contains arguments or results, and
long values are cut. The logger is `afterword`; the application sets its level and handlers.

The verb and the task are part of the record's template, so that Sentry groups lines by them.
Records about a job have job_id, task, queue, attempt, job_tags and trace_id as attributes
(`extra`). A failure's record has the exception as `exc_info`, or a replacement if it was raised in
another process, and the redacted text as `exc_text`; it is handled in the context of the attempt.
"""

import contextvars
import logging
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from afterword.model.failures import remote_exception
from afterword.model.outcome import (
    Completed,
    HandedOver,
    Outcome,
    RetryAt,
    describe,
    summarize,
    without_callers,
)
from afterword.telemetry import listeners, metrics, sentry

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


class JobOfAttempt(Protocol):
    """A job that has an attempt; implemented by `Claim`."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def queue(self) -> str:
        """The queue's name."""

    @property
    def attempt(self) -> int:
        """The number of the attempt."""

    @property
    def tags(self) -> Sequence[str]:
        """The job's tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Facts about the end of an attempt, beside its outcome.

    Args:
        error: the exception, with a message that may be shown; None: no code here raised one.
        waited: seconds from the time at which the attempt was due to its start.
        trace_id: of the attempt's span.
        variables: the context in which its task ran.
    """

    error: BaseException | None = None
    waited: float | None = None
    trace_id: str | None = None
    variables: contextvars.Context | None = None


UNKNOWN = Cause()


def ended(job: JobOfAttempt, outcome: Outcome, seconds: float, cause: Cause | None = None) -> None:
    """An attempt has ended, and its outcome is stored."""
    cause, verb = cause or UNKNOWN, verb_of(outcome)
    if listeners.want_metrics():
        metrics.ended(job.task, job.queue, verb, seconds, cause.waited)
    succeeded = isinstance(outcome, Completed | HandedOver)
    level = logging.DEBUG if succeeded else logging.WARNING
    level = logging.ERROR if verb == "failed" else level
    if logger.isEnabledFor(level):
        line = f"{verb} job=%s task={literal(job.task)} attempt=%d seconds=%.3f"
        error = getattr(outcome, "error", None)
        detail = error or getattr(outcome, "reason", None)
        extra = {**of_attempt(job), "trace_id": cause.trace_id}
        _log_of_job(
            cause.variables,
            *(level, line, job.id, job.attempt, seconds),
            detail=detail,
            error=cause.error or remote_exception(error or ""),
            extra=extra,
        )


def of_attempt(job: JobOfAttempt) -> Mapping[str, Any]:
    """The attributes of records about an attempt."""
    extra = {"job_id": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt}
    return {**extra, "job_tags": list(job.tags)}


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


def overrun(job: JobOfAttempt, *, slot_freed: bool) -> None:
    """An attempt has ended in the store, but its code still runs: a thread cannot be stopped."""
    freed = "another thread takes its place" if slot_freed else "degraded: it keeps its slot"
    line = f"overrun job=%s task={literal(job.task)} attempt=%d: its time is over, but its code"
    values = (f"{line} still runs; %s", job.id, job.attempt, freed)
    _log_of_job(None, logging.WARNING, *values, extra=of_attempt(job))


def lost_lease(job: JobOfAttempt) -> None:
    """An attempt's outcome was refused: the job has been given to another worker."""
    metrics.refused()
    values = ("lost_lease job=%s task=%s attempt=%d", job.id, job.task, job.attempt)
    _log_of_job(None, logging.WARNING, *values, extra=of_attempt(job))


def missed(name: str, count: int, policy: str) -> None:
    """No process was running for some occurrences of a schedule."""
    _log(logging.WARNING, "missed schedule=%s occurrences=%d policy=%s", name, count, policy)


def recovered(job_id: str, task: str, attempt: int, lost: int, state: str) -> None:
    """A job was taken from a lost worker."""
    line = f"recovered job=%s task={literal(task)} attempt=%d lost=%d state={state}"
    level = logging.ERROR if state == "failed" else logging.WARNING
    extra = _extra(job_id, task, attempt)
    _log_of_job(None, level, line, job_id, attempt, lost, extra=extra)


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
    line, extra = "forgotten job=%s task=%s attempt=%d state=%s", _extra(job_id, task, attempt)
    _log(logging.ERROR, line, job_id, task, attempt, state, extra=extra)


def put_back(job: JobOfAttempt, reason: str, *, again: bool = False) -> None:
    """This worker cannot run the job; it stays in the store. A warning for the first time only."""
    values = ("put_back job=%s task=%s reason=%s", job.id, job.task, reason)
    level = logging.DEBUG if again else logging.WARNING
    _log_of_job(None, level, *values, extra=of_attempt(job))


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


def task_failed(job_id: str, task: str, text: str, error: BaseException | None = None) -> None:
    """A task that ran in its request raised.

    Args:
        text: of the error, as `redact` has let it through.
        error: with a message that may be shown.
    """
    line, extra = f"failed task={literal(task)} in its request", _extra(job_id, task, 1)
    _log(logging.ERROR, line, detail=text, error=error, extra=extra)


def failure_call_failed(
    function: str, job_id: str, task: str, text: str, error: BaseException | None = None
) -> None:
    """A function that is called at failures has raised; the job is as it was."""
    line = f"failure_call_failed function={literal(function)} job=%s task=%s"
    extra = _extra(job_id, task)
    _log(logging.ERROR, line, job_id, task, detail=text, error=error, extra=extra)


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


def failed_after_completion(job: JobOfAttempt, outcome: Outcome, cause: Cause) -> None:
    """A task completed its job itself, then raised or was cancelled; the job stays completed."""
    line = f"failed_after_completion job=%s task={literal(job.task)} attempt=%d"
    detail, extra = getattr(outcome, "error", None), {**of_attempt(job), "trace_id": cause.trace_id}
    _log_of_job(
        cause.variables,
        *(logging.WARNING, line, job.id, job.attempt),
        detail=detail,
        error=cause.error,
        extra=extra,
    )


def not_stored(reason: str) -> None:
    """A request was answered with 503, or a late task was not stored."""
    _log(logging.ERROR, "not_stored reason=%s", reason)


def tracing_failed(error: Exception) -> None:
    """A span could not be made, because of a processor of the application; logged once."""
    if _first_time("<tracing>"):
        _log(logging.ERROR, "tracing_failed: a job has no span: %s", summarize(error))


def metrics_failed(error: Exception) -> None:
    """An attempt could not be counted, because of the application's meter provider; logged once."""
    if _first_time("<metrics>"):
        _log(logging.ERROR, "metrics_failed: attempts are not counted: %s", summarize(error))


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


def literal(text: str) -> str:
    """Make text part of a record's template, in which % begins a place for a value.

    >>> literal("m:f%s")
    'm:f%%s'
    """
    return brief(text).replace("%", "%%")


def _extra(job_id: str, task: str, attempt: int | None = None) -> Mapping[str, Any]:
    extra = {"job_id": job_id, "task": task}
    return extra if attempt is None else {**extra, "attempt": attempt}


def _log_of_job(
    variables: contextvars.Context | None, *args: Any, extra: Mapping[str, Any], **options: Any
) -> None:
    """Log a line in a copy of the context of its attempt, which its code may still be using.

    Args:
        variables: that context; None: it is gone, so Sentry is told here which job it was.
    """
    own = contextvars.copy_context() if variables is None else variables.copy()
    if variables is None and listeners.have_sentry():
        known = {key: value for key, value in extra.items() if value is not None}
        tags = known.pop("job_tags", ())
        sentry.enter(own, None, known["task"], known, tags)
    own.run(_log, *args, extra=extra, **options)


def _log(
    level: int,
    line: str,
    *values: object,
    detail: str | None = None,
    error: BaseException | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Log a line; exceptions of the application's handlers and filters are not passed on.

    Args:
        values: the arguments of the line; text may come from the store, so it is made brief.
        detail: further lines, such as a traceback.
        error: the exception that `detail` is the text of, for handlers that want it.
        extra: attributes of the record; those that are None are left out.
    """
    if not logger.isEnabledFor(level):
        return
    shown = [brief(each) if isinstance(each, str) else each for each in values]
    if detail and error is None:
        line, shown = f"{line}\n%s", [*shown, indented(detail)]
    known = {name: value for name, value in (extra or {}).items() if value is not None}
    try:
        record = logger.makeRecord(logger.name, level, __file__, 0, line, tuple(shown), None)
        vars(record).update(known)  # `extra` must not name what a record factory has set
        if error is not None:
            record.exc_info = (type(error), error, without_callers(error.__traceback__))
            record.exc_text = indented(detail or "")  # instead of what a formatter makes of it
        logger.handle(record)
    except Exception:
        if logging.raiseExceptions:  # as logging itself does
            traceback.print_exc()


def _first_time(key: str) -> bool:
    with _warned_lock:
        first = key not in _warned
        _warned.add(key)
        return first
