"""What the checks share: jobs, claims, and comparisons that also work under `python -O`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from afterword.errors import StoreError
from afterword.model.job import JobOptions, JobRecord, JobState, NewJob, new_id
from afterword.model.outcome import Outcome
from afterword.store.protocol import Claim, Settlement, Store

LONG = 3600.0  # seconds: a lease or a delay that does not end while a check runs
PAST = 1.0  # seconds since 1970
FUTURE = 4_000_000_000.0  # the year 2096
TOOK = 60.0  # seconds an attempt is said to have taken
BATCH = 100  # more than any check stores


def expect(expected: object, actual: object, what: str) -> None:
    """Compare; raises AssertionError with what was compared."""
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def expect_refused(store: Store, call: Callable[[], object], what: str) -> None:
    """The call raises StoreError, and leaves the store as it was."""
    before = store.count()
    try:
        call()
    except StoreError:
        expect(before, store.count(), f"jobs after {what}")
    else:
        raise AssertionError(f"{what}: expected StoreError, but it was accepted")


def a_job(**changes: Any) -> NewJob:
    """A job that is due at once."""
    return replace(NewJob(id=new_id(), task="app:send"), **changes)


def a_chain(length: int, **changes: Any) -> list[NewJob]:
    """Jobs of which each waits for the one before."""
    jobs = [a_job()]
    while len(jobs) < length:
        jobs.append(a_job(after=jobs[-1].id, **changes))
    return jobs


def options(**said: Any) -> str | None:
    """The options of a job, as text."""
    return JobOptions(**said).text()


def join(store: Store, *workers: str) -> None:
    """Workers whose leases do not run out."""
    for worker in workers:
        store.join(worker, LONG)


def added(store: Store, jobs: Sequence[NewJob], held_by: str | None = None) -> list[bool]:
    """Add jobs; which of them were not there yet."""
    return [each.added for each in store.add(jobs, held_by)]


def claim(store: Store, worker: str = "ann", limit: int = BATCH) -> Sequence[Claim]:
    """What the worker gets of the default queue."""
    return store.claim(worker, ["default"], limit)


def all_claims(store: Store, worker: str = "ann", limit: int = BATCH) -> list[Claim]:
    """What the worker gets by and by, as long as the store says that there may be more."""
    claims = list(claim(store, worker, limit))
    for _ in range(BATCH):
        if not store.changed():
            return claims
        claims.extend(claim(store, worker, limit - len(claims)))
    raise AssertionError("changed() always says True, which makes idle workers spin")


def claim_of(store: Store, job: NewJob, worker: str = "ann") -> Claim:
    """Claim, and pick this job's claim."""
    found = [each for each in claim(store, worker) if each.id == job.id]
    expect(1, len(found), "claims of a due job")
    return found[0]


def running(store: Store, worker: str = "ann", **changes: Any) -> Claim:
    """The claim of a new job, which the worker has joined for."""
    job = a_job(**changes)
    store.join(worker, LONG)
    store.add([job])
    return claim_of(store, job, worker)


def end(store: Store, attempt: Claim, outcome: Outcome) -> bool:
    """Settle one attempt."""
    (accepted,) = store.settle([Settlement(attempt, outcome, seconds=TOOK)])
    return accepted


def lose(store: Store, attempt: Claim, lease: float = 0.0) -> None:
    """The attempt's worker goes away, and its jobs are recovered."""
    store.leave(attempt.worker)
    recovered = [each.id for each in store.recover(BATCH, lease)]
    expect([attempt.id], recovered, "recovered jobs")


def record(store: Store, job_id: str) -> JobRecord:
    """What the store knows of a job that it must know."""
    found = store.get([job_id])
    expect([job_id], [each.id for each in found], "jobs found by id")
    return found[0]


def expect_between(first: float, at: datetime | None, last: float, what: str) -> None:
    """Compare a stored time, a store's own, with two of its clock; to the millisecond."""
    seconds = None if at is None else at.timestamp()
    if seconds is None or not first - 0.001 <= seconds <= last + 0.001:
        raise AssertionError(f"{what}: expected {first!r} to {last!r}, got {seconds!r}")


def seconds_between(start: datetime | None, end: datetime | None) -> int:
    """From one stored time to another, rounded; -1 if one is missing."""
    return -1 if start is None or end is None else round((end - start).total_seconds())


def whole_seconds(at: datetime | None) -> int | None:
    """A stored time, as exactly as a store must keep one that it measures by its own clock."""
    return None if at is None else round(at.timestamp())


def state(store: Store, job_id: str) -> JobState | None:
    """The state of a job; None if the store does not know it."""
    found = store.get([job_id])
    return found[0].state if found else None


def states(store: Store, jobs: Sequence[NewJob] | Sequence[JobRecord]) -> list[JobState | None]:
    """The states of several jobs."""
    return [state(store, job.id) for job in jobs]


def ids(items: Sequence[NewJob] | Sequence[Claim] | Sequence[JobRecord]) -> list[str]:
    """Their ids, in order."""
    return [item.id for item in items]


def stale(attempt: Claim) -> dict[str, Claim]:
    """Fences that do not match, by what is wrong with them."""
    return {
        "an older attempt": replace(attempt, attempt=attempt.attempt - 1),
        "a later attempt": replace(attempt, attempt=attempt.attempt + 1),
        "another worker": replace(attempt, worker="nobody"),
        "another claim of this attempt": replace(attempt, fence=(attempt.fence or 0) + 1),
        "an unknown job": replace(attempt, id=new_id()),
    }
