"""The contract in simple Python: a store as a dictionary of jobs."""

from dataclasses import dataclass, field

from afterword.model.job import JobState
from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)
from afterword.store.protocol import MAX_LOST, Claim
from afterword.testing.kit import LONG

_OF_ATTEMPTS = {RetryAt: "failed", Released: "interrupted"}
_FINAL: dict[type[Outcome], JobState] = {
    Completed: JobState.COMPLETED,
    HandedOver: JobState.HANDED_OVER,
    Failed: JobState.FAILED,
    Cancelled: JobState.CANCELLED,
}


@dataclass(slots=True)
class ModelJob:
    """One job, as the contract describes it."""

    id: str
    priority: int
    on_failure: str
    after: str | None
    due: bool = True
    state: JobState = JobState.QUEUED
    attempt: int = 0
    worker: str | None = None
    fence: int | None = None
    lost: int = 0
    interrupted: int = 0
    failures: int = 0
    stopped: bool = False  # cancelled because of the one before
    cancelling: str | None = None
    unique_key: str | None = None
    request_id: str | None = None
    shared: bool = False  # another request was given it
    limit: int | None = None  # of the jobs with this same limit
    tries: dict[int, str] = field(default_factory=dict)  # the attempts that did not end it

    @property
    def facts(self) -> tuple[object, ...]:
        """The values that must be equal in the store."""
        after = None if self.state.final else self.after
        worker = None if self.state.final else self.worker
        counts = (self.attempt, self.lost, self.interrupted, self.failures)
        return (self.state, *counts, worker, after, self.cancelling, self.unique_key)

    @property
    def attempts(self) -> list[tuple[int, str | None]]:
        """The number of each attempt, and how it ended."""
        tries: dict[int, str | None] = dict(sorted(self.tries.items()))
        if self.attempt > 0 and self.state is not JobState.QUEUED:
            tries.setdefault(self.attempt, self.state.value if self.state.final else None)
        return list(tries.items())


class Model:
    """A store as a dictionary."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.members: set[str] = set()

    def add(self, job: ModelJob) -> bool:
        """A known id changes nothing; an ended predecessor is not waited for."""
        if job.id in self.jobs:
            return False
        before = self.jobs.get(job.after or "")
        job.after = before.id if before and not before.state.final else None
        self.jobs[job.id] = job
        return True

    def holder(self, unique_key: str | None) -> ModelJob | None:
        """The unfinished job that has this key, unless it is to end."""
        jobs = [job for job in self.jobs.values() if not job.state.final and not job.cancelling]
        holders = [job for job in jobs if job.unique_key == unique_key]
        return holders[0] if holders and unique_key is not None else None

    def is_to_end(self, unique_key: str | None) -> bool:
        """True if a running job with this key has been asked to end."""
        jobs = [job for job in self.jobs.values() if job.cancelling and not job.state.final]
        return unique_key is not None and unique_key in {job.unique_key for job in jobs}

    def share(self, job: ModelJob, request_id: str | None) -> None:
        """Share this job with another request: neither can take it back."""
        if job.request_id != request_id:
            job.shared, job.on_failure = True, "continue"

    def running_with(self, limit: int) -> int:
        """The number of running jobs that share this limit."""
        jobs = self.jobs.values()
        return sum(job.state is JobState.RUNNING and job.limit == limit for job in jobs)

    def fenced(self, claim: Claim) -> ModelJob | None:
        """The job, if this claim is its present one."""
        job = self.jobs.get(claim.id)
        if job is None or job.state is not JobState.RUNNING:
            return None
        fence = (claim.attempt, claim.worker, claim.fence)
        return job if (job.attempt, job.worker, job.fence) == fence else None

    def claimable(self) -> list[ModelJob]:
        """The jobs that a worker may take."""
        return [
            job
            for job in self.jobs.values()
            if job.state is JobState.QUEUED
            and job.after is None
            and job.due
            and not self.is_to_end(job.unique_key)
        ]

    def free(self) -> list[ModelJob]:
        """The claimable jobs that the limits allow."""
        return [
            job
            for job in self.claimable()
            if job.limit is None or self.running_with(job.limit) < job.limit
        ]

    def lost(self) -> list[ModelJob]:
        """The running jobs of workers that are gone."""
        return [
            job
            for job in self.jobs.values()
            if job.state is JobState.RUNNING and job.worker not in self.members
        ]

    def queue(self, job: ModelJob, *, due: bool) -> None:
        """Back to the queue; what was due later stays so, and what is to end has ended."""
        if job.cancelling is not None:
            self.end(job, JobState.CANCELLED)
        else:
            job.state, job.worker, job.due = JobState.QUEUED, None, job.due and due

    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Apply an outcome."""
        job = self.fenced(claim)
        if job is None:
            return False
        if type(outcome) in _FINAL:
            self.end(job, _FINAL[type(outcome)])
        else:
            job.interrupted += isinstance(outcome, Released)
            job.failures += isinstance(outcome, RetryAt)
            job.tries[job.attempt] = _OF_ATTEMPTS[type(outcome)]
            self.queue(job, due=not isinstance(outcome, RetryAt) or outcome.delay < LONG)
        return True

    def end(self, job: ModelJob, state: JobState) -> None:
        """The end of a job, and of those that stop with it."""
        job.state, job.stopped, job.cancelling = state, False, None
        for follower in self.followers(job.id):
            if state.succeeded:  # it ran, so it waited for nothing
                follower.after = None
            elif not self.stop(follower):
                follower.after = self.unfinished_before(job)

    def stop(self, job: ModelJob) -> bool:
        """Cancel a job behind a failure; one that is shared goes on, its own request's do not."""
        if job.on_failure == "stop":
            self.end(job, JobState.CANCELLED)
            job.stopped = True
        elif job.shared:
            for follower in self.followers(job.id):
                if follower.request_id == job.request_id:
                    self.stop(follower)
        return job.stopped

    def unfinished_before(self, job: ModelJob) -> str | None:
        """The job that it, or what it has stopped with, waited for."""
        before = self.jobs.get(job.after or "")
        while before and before.state.final:
            before = self.jobs.get(before.after or "")
        return before.id if before else None

    def followers(self, job_id: str) -> list[ModelJob]:
        """The unfinished jobs right behind this one."""
        jobs = self.jobs.values()
        return [job for job in jobs if job.after == job_id and not job.state.final]

    def discard(self, claim: Claim) -> bool:
        """The job is gone, its followers move up."""
        job = self.fenced(claim)
        if job is not None and job.shared:
            job.attempt -= 1
            self.queue(job, due=True)
        elif job is not None:
            self.forget(job)
        return job is not None

    def forget(self, job: ModelJob) -> None:
        """Remove the job, as if it had not been added."""
        for follower in self.followers(job.id):
            follower.after = job.after
        del self.jobs[job.id]

    def retry(self, job: ModelJob) -> None:
        """An ended job is queued again, and those that stopped with it wait for it again."""
        stopped = [each for each in self.jobs.values() if each.stopped and each.after == job.id]
        before = self.jobs.get(job.after or "")
        job.after = before.id if before and not before.state.final else None
        if self.holder(job.unique_key):
            job.unique_key = None
        if job.attempt > 0:
            job.tries.setdefault(job.attempt, job.state.value)
        job.state, job.worker, job.stopped, job.shared = JobState.QUEUED, None, False, False
        job.lost = job.failures = 0
        for follower in stopped:
            self.retry(follower)

    def recover(self, job: ModelJob, lease: float) -> JobState:
        """Apply the recovery of a lost job."""
        job.lost += 1
        if job.cancelling is not None:
            self.end(job, JobState.CANCELLED)
        elif job.lost >= MAX_LOST:
            self.end(job, JobState.FAILED)
        else:
            job.tries[job.attempt] = "lost"
            self.queue(job, due=job.lost == 1 or lease == 0)
        return job.state
