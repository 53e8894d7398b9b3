"""Helpers of the checks: jobs, claims, and comparisons that also work under `python -O`."""

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
TOOK = 60.0  # the seconds of every settled attempt
BATCH = 100  # more than any check stores


def expect(expected: object, actual: object, what: str) -> None:
    """Compare two values; raise AssertionError with a description if they differ."""
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def expect_refused(store: Store, call: Callable[[], object], what: str) -> None:
    """Expect the call to raise StoreError, and to leave the store unchanged."""
    before = store.count()
    try:
        call()
    except StoreError:
        expect(before, store.count(), f"jobs after {what}")
    else:
        raise AssertionError(f"{what}: expected StoreError, but it was accepted")


def a_job(**changes: Any) -> NewJob:
    """Make a job that is due at once."""
    return replace(NewJob(id=new_id(), task="app:send"), **changes)


def a_chain(length: int, **changes: Any) -> list[NewJob]:
    """Make jobs that each wait for the one before."""
    jobs = [a_job()]
    while len(jobs) < length:
        jobs.append(a_job(after=jobs[-1].id, **changes))
    return jobs


def options(**values: Any) -> str | None:
    """Make the options of a job, as text."""
    return JobOptions(**values).text()


def join(store: Store, *workers: str) -> None:
    """Join workers whose leases do not expire."""
    for worker in workers:
        store.join(worker, LONG)


def added(store: Store, jobs: Sequence[NewJob], held_by: str | None = None) -> list[bool]:
    """Add jobs; return True for each that is new."""
    return [each.added for each in store.add(jobs, held_by)]


def claim(store: Store, worker: str = "ann", limit: int = BATCH) -> Sequence[Claim]:
    """Claim jobs of the default queue."""
    return store.claim(worker, ["default"], limit)


def all_claims(store: Store, worker: str = "ann", limit: int = BATCH) -> list[Claim]:
    """Claim jobs for as long as the store says that there may be more."""
    claims = list(claim(store, worker, limit))
    for _ in range(BATCH):
        if not store.changed():
            return claims
        claims.extend(claim(store, worker, limit - len(claims)))
    raise AssertionError("changed() always returns True, which makes idle workers spin")


def claim_of(store: Store, job: NewJob, worker: str = "ann") -> Claim:
    """Claim jobs, and pick the claim of this one."""
    found = [each for each in claim(store, worker) if each.id == job.id]
    expect(1, len(found), "claims of a due job")
    return found[0]


def running(store: Store, worker: str = "ann", **changes: Any) -> Claim:
    """Join a worker, add a job, and claim it."""
    job = a_job(**changes)
    store.join(worker, LONG)
    store.add([job])
    return claim_of(store, job, worker)


def end(store: Store, attempt: Claim, outcome: Outcome) -> bool:
    """Settle one attempt."""
    (accepted,) = store.settle([Settlement(attempt, outcome, seconds=TOOK)])
    return accepted


def lose(store: Store, attempt: Claim, lease: float = 0.0) -> None:
    """Let the attempt's worker leave, and recover its jobs."""
    store.leave(attempt.worker)
    recovered = [each.id for each in store.recover(BATCH, lease)]
    expect([attempt.id], recovered, "recovered jobs")


def record(store: Store, job_id: str) -> JobRecord:
    """Return the record of a job that the store must have."""
    found = store.get([job_id])
    expect([job_id], [each.id for each in found], "jobs found by id")
    return found[0]


def expect_between(first: float, at: datetime | None, last: float, what: str) -> None:
    """Compare a stored time with two readings of the store's clock, to the millisecond."""
    seconds = None if at is None else at.timestamp()
    if seconds is None or not first - 0.001 <= seconds <= last + 0.001:
        raise AssertionError(f"{what}: expected {first!r} to {last!r}, got {seconds!r}")


def seconds_between(start: datetime | None, end: datetime | None) -> int:
    """Return the rounded seconds between two stored times; -1 if one is missing."""
    return -1 if start is None or end is None else round((end - start).total_seconds())


def whole_seconds(at: datetime | None) -> int | None:
    """Round a stored time to seconds, the precision of times that the store itself measures."""
    return None if at is None else round(at.timestamp())


def state(store: Store, job_id: str) -> JobState | None:
    """Return the state of a job; None if the store does not have it."""
    found = store.get([job_id])
    return found[0].state if found else None


def states(store: Store, jobs: Sequence[NewJob] | Sequence[JobRecord]) -> list[JobState | None]:
    """Return the states of several jobs."""
    return [state(store, job.id) for job in jobs]


def ids(items: Sequence[NewJob] | Sequence[Claim] | Sequence[JobRecord]) -> list[str]:
    """Return the ids, in order."""
    return [item.id for item in items]


def stale(attempt: Claim) -> dict[str, Claim]:
    """Return claims with a wrong fence, by what is wrong with them."""
    return {
        "an older attempt": replace(attempt, attempt=attempt.attempt - 1),
        "a later attempt": replace(attempt, attempt=attempt.attempt + 1),
        "another worker": replace(attempt, worker="nobody"),
        "another claim of this attempt": replace(attempt, fence=(attempt.fence or 0) + 1),
        "an unknown job": replace(attempt, id=new_id()),
    }
