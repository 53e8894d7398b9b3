"""Reasons why a queued job has not started."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from afterword.admin.duration import show_instant, show_span
from afterword.admin.failures import last_line
from afterword.admin.health import parked_for, serves
from afterword.admin.job_options import options_of, rate_of
from afterword.admin.words import many
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter, QueueRecord
from afterword.store.protocol import Store
from afterword.telemetry import printable

_RUNNING = 500  # running jobs of a task that are checked for the same limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The circumstances that can keep a job waiting.

    Args:
        before: its predecessor, if the store still has it.
        served: True if a worker takes jobs from its queue.
        queue: its queue, if that is paused or has a limit.
        holders: the running jobs that share its limit.
    """

    before: JobRecord | None = None
    served: bool = True
    queue: QueueRecord | None = None
    holders: Sequence[JobRecord] = ()


def why(store: Store, job: JobRecord, now: float) -> list[str]:
    """Return the reasons why a queued job waits, from a look at the store."""
    if job.state is not JobState.QUEUED:
        return []
    return reasons(job, _look_around(store, job), now=now)


def _look_around(store: Store, job: JobRecord) -> Surroundings:
    return Surroundings(
        before=next(iter(store.get([job.after])), None) if job.after else None,
        served=any(serves(worker, job.queue) for worker in store.workers()),
        queue=_rule_of(store, job.queue),
        holders=_holders(store, job),
    )


def _rule_of(store: Store, name: str) -> QueueRecord | None:
    if name not in store.ruled():  # cheaper than counting the jobs of all queues
        return None
    return next((queue for queue in store.queues(limit=1) if queue.name == name), None)


def _holders(store: Store, job: JobRecord) -> list[JobRecord]:
    """Return the running jobs with the same limit; jobs share it only within their task."""
    if job.limit_key is None or options_of(job).limit is None:
        return []
    running = store.find(Filter(state=JobState.RUNNING, task=job.task), _RUNNING)
    return [each for each in running if each.limit_key == job.limit_key]


# ---------------------------------------------------------------------- what follows from it


def reasons(job: JobRecord, around: Surroundings, *, now: float) -> list[str]:
    """Return the reasons why a queued job waits.

    Args:
        now: seconds since 1970.
    """
    if job.state is not JobState.QUEUED:
        return []
    found = [
        *_behind(job, around.before),
        *_for_a_worker_that_can(job, now),
        *_for_its_time(job, now),
        *_for_its_queue(around),
        *_for_its_limit(job, around.holders),
    ]
    if not around.served:
        found.append(f"no worker serves the queue {printable(job.queue)}")
    return found or [_due(job, now)]


def _behind(job: JobRecord, before: JobRecord | None) -> Iterator[str]:
    if job.after:
        known = f" ({printable(before.task)}), which is {before.state}" if before else ""
        yield f"behind job {printable(job.after)}{known}"


def _for_a_worker_that_can(job: JobRecord, now: float) -> Iterator[str]:
    """Say since when workers could not run it, and why."""
    if job.parked_at is None:
        return
    since = f"since {show_instant(job.parked_at)}, {show_span(parked_for(job, now))} ago"
    wait = job.run_at.timestamp() - now
    until = f", until {show_instant(job.run_at)}, in {show_span(wait)}" if wait > 0 else ""
    reason = f": {printable(last_line(job.error))}" if job.error else ""
    yield f"put back by each worker that claimed it {since}{until}{reason}"


def _for_its_time(job: JobRecord, now: float) -> Iterator[str]:
    wait = job.run_at.timestamp() - now
    if wait <= 0 or job.parked_at is not None:
        return
    at = f"{show_instant(job.run_at)}, in {show_span(wait)}"
    if job.failures or job.attempt:
        yield f"retrying at {at}, as attempt {job.attempt + 1}{_so_far(job)}"
    elif rate := rate_of(options_of(job)):
        # The time is due to the rate, or to a delay of the call: the store does not record which.
        yield f"scheduled for {at}; its rate is {rate}"
    else:
        yield f"scheduled for {at}"


def _so_far(job: JobRecord) -> str:
    """Describe the failures of a job, and its retries left if it has its own number of them."""
    if not job.failures:
        return ""
    retries = options_of(job).retries
    left = "" if retries is None else f", of which {max(0, retries - job.failures)} more are left"
    return f", after {many(job.failures, 'failure')}: retry {job.failures}{left}"


def _for_its_queue(around: Surroundings) -> Iterator[str]:
    queue = around.queue
    if queue is None:
        return
    if queue.paused:
        yield f"the queue {printable(queue.name)} is paused"
    if queue.concurrency is not None and queue.running >= queue.concurrency:
        limit = f"{queue.running:,} of {queue.concurrency:,} jobs run"
        yield f"the queue {printable(queue.name)} is at its limit: {limit}"


def _for_its_limit(job: JobRecord, holders: Sequence[JobRecord]) -> Iterator[str]:
    limit = options_of(job).limit
    if limit is None or not holders or len(holders) < limit:
        return
    key = printable(job.limit_key or "")
    runs = f"{len(holders):,} of {limit:,} jobs run, such as {holders[-1].id}"
    yield f"the limit of {key} is reached: {runs}"


def _due(job: JobRecord, now: float) -> str:
    waits = f"due for {show_span(now - job.run_at.timestamp())}, waits for a free worker"
    again = f", as attempt {job.attempt + 1}{_so_far(job)}" if job.failures else ""
    return waits + again
