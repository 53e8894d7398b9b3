"""An attempt in a child process: what the worker asks of it, and what comes back.

Everything that needs the task's code happens in the child, which has it: arguments are decoded
there, errors become text, and the policy decides there what is to become of the job. The worker
gets an outcome, or the reason why there is none, and writes it.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from afterword import outcome as outcomes
from afterword.context import TaskContext
from afterword.errors import AfterwordError
from afterword.executor import Attempt, Ending, conclude, prepare, run_async
from afterword.job import NewJob
from afterword.outcome import Completed, Failed, Outcome, Retry
from afterword.policy import Interruption
from afterword.processes import Ending as ProcessEnding
from afterword.processes import child
from afterword.store import Claim
from afterword.task import is_async, options_of

HANDLER = f"{__name__}:run"
BEGUN = "begun"  # what a child says first: from then on the attempt's time counts
_OUTCOMES: Mapping[str, type[Outcome]] = {
    kind.__name__: kind
    for kind in (Completed, Failed, outcomes.Cancelled, Retry, outcomes.Released)
}


class ProcessDied(AfterwordError, RuntimeError):
    """The process of an attempt is gone: a signal, an exit, no memory; the message says which."""


# ---------------------------------------------------------------------- the worker's side


def request_of(attempt: Attempt, retries: int | None) -> dict[str, Any]:
    """What a child is asked to run."""
    return {
        "module": attempt.claim.task.partition(":")[0],
        "claim": asdict(attempt.claim),
        "started_at": attempt.context.started_at,
        "retries": retries,
    }


def conclude_process(
    attempt: Attempt, ending: ProcessEnding, interruption: Interruption | None, now: float
) -> tuple[Outcome, list[NewJob]]:
    """What becomes of the job, and the jobs that its task has added."""
    if ending.value is not None:
        children = [
            NewJob(**{**each, "tags": tuple(each["tags"])}) for each in ending.value["jobs"]
        ]
        return _OUTCOMES[ending.value["kind"]](**ending.value["outcome"]), children
    if interruption is not None:  # and so it was killed
        return conclude(attempt, Ending(asyncio.CancelledError()), interruption, now), []
    died = ProcessDied(ending.died or ending.error or "")
    if options_of(attempt.claim.task).on_crash == "fail":
        return Failed(f"{type(died).__name__}: {died}"), []
    return conclude(attempt, Ending(died), None, now), []


# ---------------------------------------------------------------------- the child's side


class _Context(TaskContext):
    """What a task in a child knows of itself; the store is the worker's."""

    def __init__(self, claim: Claim, started_at: float) -> None:
        super().__init__(claim, None, started_at)

    @property
    def is_told_to_end(self) -> bool:
        """Whether the worker has said so."""
        return child.cancelled()


def run(request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run an attempt, and return its outcome as JSON."""
    claim = Claim(**{**request["claim"], "tags": tuple(request["claim"]["tags"])})
    context = _Context(claim, request["started_at"])
    context.send = send
    attempt = prepare(claim, context, request["retries"])
    send({"kind": BEGUN})
    outcome = conclude(attempt, _run(attempt), None, time.time())
    children = context.children if isinstance(outcome, Completed) else []
    return {
        "kind": type(outcome).__name__,
        "outcome": asdict(outcome),
        "jobs": [asdict(each) for each in children],
    }


def _run(attempt: Attempt) -> Ending:
    if is_async(attempt.func):
        return asyncio.run(run_async(attempt))
    try:
        value = contextvars.copy_context().run(attempt.call)
        if asyncio.iscoroutine(value):
            return Ending(value=asyncio.run(value))
        return Ending(value=value)
    except BaseException as error:
        return Ending(error)
