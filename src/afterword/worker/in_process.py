"""An attempt in a child process: the worker's request, and the child's answer.

Everything that needs the task's code happens in the child: it decodes the arguments, turns errors
into text, and lets the policy decide the outcome. The worker receives the outcome, or the reason
why there is none, and writes it. It also receives the progress of the task.

A child has no application, so a task can be given only its own attempt there.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from afterword.errors import AfterwordError
from afterword.injection.injectors import injection_of
from afterword.injection.needs import Injection
from afterword.model import outcome as outcomes
from afterword.model.job import Delay, NewJob
from afterword.model.outcome import Completed, Failed, Outcome, RetryAt
from afterword.store.protocol import Claim
from afterword.tasks import application
from afterword.tasks.policy import Interruption
from afterword.tasks.registry import options_of, trust
from afterword.telemetry import tracing
from afterword.worker.attempt_log import AttemptLog, SentLog, collect
from afterword.worker.context import BUILTINS, TaskContext, current_log
from afterword.worker.executor import (
    Attempt,
    Ending,
    Targets,
    conclude,
    ending_of,
    prepare,
    run_async,
    run_sync,
)
from afterword.worker.processes import Ending as ProcessEnding
from afterword.worker.processes import child
from afterword.worker.progress import EVERY, Progress
from afterword.worker.services import WorkerServices

HANDLER = f"{__name__}:run"
BEGUN = "begun"  # the first message of a child: the time limit of the attempt starts
PROGRESS = "progress"  # the progress of its task
LOG = "log"  # a line of its log, if that is kept
_OUTCOMES: Mapping[str, type[Outcome]] = {
    kind.__name__: kind
    for kind in (Completed, Failed, outcomes.Cancelled, RetryAt, outcomes.Released)
}


class ProcessDied(AfterwordError, RuntimeError):
    """The process of an attempt is gone: a signal, an exit, no memory; the message says which."""


# ---------------------------------------------------------------------- the worker's side


def request_of(attempt: Attempt, retries: int | None) -> dict[str, Any]:
    """Return the request that asks a child to run an attempt."""
    return {
        "module": attempt.claim.task.partition(":")[0],
        "claim": asdict(attempt.claim),
        "started_at": attempt.context.started_at,
        "retries": retries,
        "application": application.known(),
        "keeps_log": attempt.context.log is not None,
        "trace": None if attempt.context.trace is None else attempt.context.trace.carrier,
    }


def conclude_process(
    attempt: Attempt, ending: ProcessEnding, interruption: Interruption | None
) -> tuple[Outcome, list[NewJob]]:
    """Return the outcome of the attempt, and the jobs that its task has added."""
    if ending.value is not None:
        children = [_job_of(each) for each in ending.value["jobs"]]
        return _OUTCOMES[ending.value["kind"]](**ending.value["outcome"]), children
    if interruption is not None:  # and so it was killed
        return conclude(attempt, Ending(asyncio.CancelledError()), interruption), []
    died = death_of(ending)
    if options_of(attempt.claim.task).on_crash == "fail":
        return Failed(f"{type(died).__name__}: {died}"), []
    return conclude(attempt, Ending(died), None), []


def death_of(ending: ProcessEnding) -> ProcessDied:
    """Return the error of an attempt whose process died before it could answer."""
    return ProcessDied(ending.died or ending.error or "")


def _job_of(values: dict[str, Any]) -> NewJob:
    """Make a job of its JSON."""
    run_at = values["run_at"]
    run_at = Delay(**run_at) if isinstance(run_at, dict) else run_at
    return NewJob(**{**values, "tags": tuple(values["tags"]), "run_at": run_at})


# ---------------------------------------------------------------------- the child's side


Send = Callable[[dict[str, Any]], None]


@cache
def _injection() -> Injection:
    """The injection of this process, also for jobs that its tasks add."""
    return injection_of()


@cache
def _targets() -> Targets:
    """The functions that have run in this process."""
    return Targets(_injection())


class _Context(TaskContext):
    """The context of a task in a child; only the worker has the store."""

    @property
    def is_told_to_end(self) -> bool:
        """True once the worker has said so."""
        return child.cancelled()


def run(request: dict[str, Any], send: Send) -> dict[str, Any]:
    """Run an attempt, and return its outcome as JSON."""
    claim = Claim(**{**request["claim"], "tags": tuple(request["claim"]["tags"])})
    application.adopt(request["application"])
    trust(claim.task)
    services = WorkerServices(
        injection=_injection(),
        builtins=BUILTINS,
        note=lambda each: _send_later(each, send),
        new_log=_sent_log(send) if request["keeps_log"] else None,
    )
    context = _Context(claim, services, request["started_at"])
    tracing.carry(request["trace"])
    context.trace = tracing.joined(request["trace"])
    attempt = prepare(claim, context, _targets(), request["retries"])
    send({"kind": BEGUN})
    outcome = conclude(attempt, _run(attempt), None)
    context.over = True
    if context.said_progress is not None:
        _send(context.said_progress, send)
    children = context.children if isinstance(outcome, Completed) else []
    return {
        "kind": type(outcome).__name__,
        "outcome": asdict(outcome),
        "jobs": [asdict(each) for each in children],
    }


def _run(attempt: Attempt) -> Ending:
    variables = attempt.context.variables = contextvars.copy_context()
    attempt.context.enter_sentry()
    if attempt.target.is_async:
        running = run_async(attempt, lambda call: threading.Thread(target=call).start())
        return variables.run(asyncio.run, running)
    return run_sync(attempt, lambda it: asyncio.run(ending_of(it)), variables)


def _sent_log(send: Send) -> Callable[[], AttemptLog]:
    collect(current_log)
    return lambda: SentLog(lambda line: send({"kind": LOG, "line": line}))


def _send_later(progress: Progress, send: Send) -> None:
    """Send the progress after a moment, with all that changes until then."""
    timer = threading.Timer(EVERY, _send, (progress, send))
    timer.daemon = True
    timer.start()


def _send(progress: Progress, send: Send) -> None:
    report = progress.take()
    if report is not None:
        send({"kind": PROGRESS, "text": report.progress})
