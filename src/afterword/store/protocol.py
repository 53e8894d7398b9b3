"""The store keeps the jobs, and is the only place where the web half and the worker half meet.

A store is synchronous and works in batches: each verb takes and returns sequences and is atomic;
verbs called inside `with store.transaction():` are atomic together. One thread at a time uses a
store (`GroupCommit` owns it); only the verbs for people may be called from any thread.

The states of a row:

    add ─▶ queued ─────────────▶ claim ─▶ running ─▶ settle ─▶ history: completed, failed, cancelled
     └───▶ held = running, attempt 1 ────────▲  │                    or handed_over
                                             │  ├──▶ release, Retry, Released: queued again
                                             │  └──▶ recover: queued again, or failed (poison)

A worker joins under a random id and with a lease, and renews it. A running job is lost if its
worker has left, its lease has expired or its process has died; `recover` takes lost jobs.
All times are measured by the store's clock: callers pass durations ("in 60 seconds"), or instants
that the store has returned before. Their own clocks may be wrong.

Every write that ends an attempt must match the fence: job id, attempt, the worker that holds it and
the number of its claim. It returns True if it matched; False means that the job has another owner,
and nothing was changed. Each claim has a new number: the same worker may claim an attempt again
that was given back, and a repeated write of the earlier claim must not end it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import ref

from afterword.model.audit import Actor, AuditRecord
from afterword.model.counters import MINUTE, CounterRecord
from afterword.model.failures import Failures
from afterword.model.job import JobRecord, JobState, NewJob, held_fence
from afterword.model.outcome import Outcome
from afterword.model.records import (
    AttemptRecord,
    Filter,
    QueueRecord,
    Remark,
    ScheduleRecord,
    TaskRecord,
    WorkerRecord,
)
from afterword.store.noting import NOTED_WITHIN

STOPPED = "an earlier task of this request failed"  # why a job was cancelled with it
MAX_LOST = 3  # workers that may die with a job before it counts as poison


@dataclass(frozen=True, slots=True)
class Added:
    """The answer to adding one job.

    Args:
        id: its own, or the id of the job that has its unique key.
        added: False if a job with its id or its unique key exists.
        conflict: the existing job has other arguments.
        waits: it is held, but must be claimed before it starts: the job with its key has been asked
            to end, and has not ended yet.
        found: the existing job.
    """

    id: str
    added: bool
    conflict: bool = False
    waits: bool = False
    found: JobRecord | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Claim:
    """A worker's right to one attempt at a job: the fence, and the data to run it.

    `attempt` is the number for people; if an attempt never started, its number is used again.
    `fence` is a number that no other claim of this job has.
    As long as this object exists, this process can end the attempt; see `claimed_ids`.
    """

    id: str
    attempt: int
    worker: str
    task: str
    arguments: str
    created_at: float
    queue: str = "default"
    options: str | None = None
    tags: tuple[str, ...] = ()
    failures: int = 0
    interrupted: int = 0
    limited: bool = False  # it has to be claimed to start; others wait for it to end
    lost: int = 0  # how many workers were lost with this job
    fence: int | None = None  # None: claimed by a release that has no such numbers
    parked: float = 0.0  # seconds since a worker first could not run it; 0: none has met it yet
    due_at: float | None = None  # None: since it was added

    def __post_init__(self) -> None:
        reference = ref(self, _forget)
        _claims[id(reference)] = reference


# The claims of this process. A dictionary of the library's takes three times as long.
_claims: dict[int, ref[Claim]] = {}


def _forget(reference: ref[Claim]) -> None:
    _claims.pop(id(reference), None)


def claimed_ids(worker: str) -> set[str]:
    """Return the jobs for which this process has a claim of this worker."""
    claims = (reference() for reference in list(_claims.values()))
    return {claim.id for claim in claims if claim is not None and claim.worker == worker}


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of an attempt, and how many seconds it took.

    `children` are jobs that the attempt adds: they exist if and only if its end is accepted. `log`
    has the lines that loggers wrote during the attempt, if they are kept.
    """

    claim: Claim
    outcome: Outcome
    children: Sequence[NewJob] = ()
    seconds: float = field(default=0.0, kw_only=True)
    log: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Report:
    """The progress of a running attempt, as JSON."""

    claim: Claim
    progress: str


@dataclass(frozen=True, slots=True)
class Putback:
    """A claim given back before its attempt started: it does not count as one.

    It may be claimed again after `delay` seconds. `reason` says why the job cannot be run here;
    from the first such putback on `Claim.parked` counts, until an attempt starts.
    """

    claim: Claim
    delay: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """A job whose worker was lost, and the state it is in now."""

    id: str
    task: str
    attempt: int
    worker: str
    lost: int
    state: JobState


@dataclass(frozen=True, slots=True)
class Cancelling:
    """A running attempt that was asked to end, and why."""

    id: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class QueueRules:
    """The rules of queues, for one worker.

    Args:
        version: grows with each change of a rule.
        noted: the version that the worker has noted; None: it starts nothing.
        queues: those that are paused or limited, so that every job of theirs has to be claimed.
    """

    version: int
    noted: int | None
    queues: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A schedule as declared in the code of a process; `next_at` is used if its rule is new.

    During a deploy two releases may have different rules: then each continues with its own.
    """

    name: str
    task: str
    rule: str
    words: str
    next_at: float


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule whose next occurrence has come: `next_at` is not after `now`.

    `last_at` is the latest occurrence that got a job.
    """

    name: str
    next_at: float
    now: float
    rule: str
    last_at: float | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `:name` parameters, and their values, for a user's own connection."""

    sql: str
    values: Mapping[str, Any]


EVERYTHING = Filter()
NEWEST_FAILURES = 2_000  # jobs: more would take longer than people wait


class Store(Protocol):
    """The verbs of every store. `afterword.testing.check_store` is the contract as tests."""

    url: str  # without password
    durability: str  # "power-loss" or "process-crash": what a committed job survives
    identity: str  # made with the store, and the same for all that have it open
    patience: float  # seconds after which a statement gives up: others have locks, or no answer

    def open(self, create: bool = True) -> None:
        """Connect and migrate; refuse a schema that this release cannot work with.

        With `create=False` nothing is created or migrated: a store that needs this is refused.
        """

    def close(self) -> None:
        """Give up every connection and lock; harmless when closed."""

    def forget(self) -> None:
        """Close in a forked child, without affecting the connections of the parent."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit the verbs that are called inside together, or none of them."""

    def join(
        self, worker: str, lease: float, queues: Sequence[str] = (), concurrency: int = 0
    ) -> None:
        """Announce a worker; from now on it can hold jobs, for `lease` seconds unless renewed.

        Its queues and concurrency are only shown to people.
        """

    def renew(self, worker: str, lease: float) -> bool:
        """Extend the worker's lease; False: the lease was lost, and with it the worker's jobs."""

    def retire(self, worker: str) -> None:
        """Note that a worker shuts down: jobs that it does not end are interrupted, not lost."""

    def leave(self, worker: str) -> None:
        """Remove a worker; jobs that it still holds are lost at once."""

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        """Store jobs; a `held` one is running, attempt 1, for `held_by`: its `held_claim`.

        A job is not added if its id exists, or if an unfinished job has its unique key. Jobs that
        should follow it then follow its own predecessor; without one, they follow the existing job.
        If another request has added the existing job, both share it from then on: `discard` puts it
        back, and no failure of a predecessor stops it (except for `unique_ended` jobs, whose
        requests have the same order).

        A running job that has been asked to end gives up its key (except to `unique_ended` jobs):
        the next job with this key is added, and can be claimed when the running one has ended.
        """

    def release(self, putbacks: Sequence[Putback]) -> Sequence[bool]:
        """Give back claims that were never started; the attempt is not counted."""

    def discard(self, claims: Sequence[Claim], reason: str | None = None) -> Sequence[bool]:
        """Remove held jobs that must not run; their followers move up.

        With a reason they are not removed, but end as cancelled. A job that another request shares
        is put back instead, so that it runs.
        """

    def claim(
        self, worker: str, queues: Sequence[str], limit: int, skip: Sequence[str] = ()
    ) -> Sequence[Claim]:
        """Take due jobs by (priority, run_at, id), except the tasks to skip; attempt += 1.

        Queues are served in the given order; a worker that has not joined gets nothing. No more
        jobs are returned than the limits of their queues and keys allow, over all workers. A job
        that has to wait for its rate is queued for its start time. Jobs of paused queues are not
        returned.
        """

    def next_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next job of these queues is due; None: there is none."""

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Write outcomes under the fence; a final job moves to the history."""

    def report(self, reports: Sequence[Report]) -> Sequence[bool]:
        """Write the progress of running attempts, under the fence."""

    def cancelling(self, worker: str) -> Sequence[Cancelling]:
        """Return the running attempts of a worker that were asked to end."""

    def rules(self, worker: str) -> QueueRules:
        """Return the rules of queues, for a worker."""

    def take_note(self, worker: str, version: int | None) -> None:
        """Note that a worker follows this version of the rules; None: it starts no jobs."""

    def recover(
        self, limit: int, lease: float, held_by: str | None = None, known: Sequence[str] = ()
    ) -> Sequence[Recovered]:
        """Take jobs from lost workers: queued again (`recovery_delay`), failed, or cancelled.

        Jobs of the worker `held_by` are lost as well, unless they are `known`.
        """

    def free_followers(self, limit: int) -> int:
        """Free the jobs whose predecessor does not exist; cancel them if it failed.

        There are none, unless a row was deleted by hand, for example. Each call checks the next
        `limit` predecessors, and returns the number of missing ones.
        """

    def purge(self, retention: float, limit: int) -> int:
        """Delete history that finished more than `retention` seconds ago; returns the number.

        Jobs of schedules, which have a tag `schedule:NAME`, are kept for at least four minutes:
        another release may reach the same occurrence later, and must not run it again.
        """

    def roll_up(self, limit: int) -> int:
        """Count the jobs that ended in past minutes, for `counters`.

        At most `limit` minutes are counted for the first time. Returns the number of counted
        minutes; 0: there is none, or another process counts them.
        """

    def now(self) -> float:
        """The store's clock: seconds since 1970."""

    def declare(self, schedules: Sequence[Declared]) -> None:
        """Declare schedules; a schedule with a new rule starts from its `next_at`.

        A known rule continues from its cursor. It starts from `next_at` again if no process has
        declared it for a while, and some process has declared another rule.
        """

    def due(self, rules: Mapping[str, str]) -> Sequence[Due]:
        """Return those of these schedules that have a due occurrence, to one caller.

        Args:
            rules: the rules of the schedules, by their names.
        """

    def advance(self, due: Due, next_at: float, last_at: float | None) -> bool:
        """Move a schedule's cursor; False: another process has moved it, and creates the jobs."""

    def announce(self) -> None:
        """Wake the workers: jobs were committed on a connection of the application."""

    def listen(self, heard: Callable[[], object]) -> float:
        """Call `heard`, from now on until `close`, whenever jobs may have become claimable.

        It is called in any thread, returns at once, and need not be called for each job: it is a
        hint. It is called for the jobs of every process that uses the store, including this one.

        Returns:
            Seconds between two calls of `changed`, which finds jobs for which `heard` was not
            called.
        """

    def changed(self) -> bool:
        """True if jobs may be claimable for which `heard` was not called; a hint, and cheap."""

    # ------------------------------------------------------------------ for people, any thread

    def get(self, ids: Sequence[str]) -> Sequence[JobRecord]:
        """The jobs with these ids that exist, in any order."""

    def find(
        self, wanted: Filter = EVERYTHING, limit: int = 100, before: str | None = None
    ) -> Sequence[JobRecord]:
        """The newest jobs first, in pages: `before` is the last id of the page before."""

    def count(
        self, wanted: Filter = EVERYTHING, limit: int | None = None
    ) -> Mapping[JobState, int]:
        """Count the jobs in each state, up to `limit` for each."""

    def window(
        self, many: int, before: str | None = None, state: JobState | None = None
    ) -> str | None:
        """The id below the newest jobs: `many`, or up to twice as many; None: there are fewer.

        `Filter.above` with it bounds the number of rows that a search reads; `limit` does not.
        """

    def failures(self, wanted: Filter = EVERYTHING, limit: int = NEWEST_FAILURES) -> Failures:
        """Group the newest jobs that failed by task, exception and message; at most `limit` jobs.

        The state in the filter does not count.
        """

    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        """The attempts at a job, the first one first.

        Of a job with many attempts, those before the last hundred may be left out.
        """

    def logs(self, job_id: str) -> Mapping[int, str]:
        """Return the logs of a job's attempts, by the attempt's number."""

    def with_key(self, unique_key: str, *, ended: bool) -> JobRecord | None:
        """The unfinished job that has this unique key, if it has not been asked to end.

        With `ended`, otherwise the job that was asked to end, or the latest that has ended.
        """

    def schedules(self) -> Sequence[ScheduleRecord]:
        """The schedules that processes have declared, by name."""

    def ruled(self) -> Sequence[str]:
        """The queues that are paused or limited."""

    def limit(
        self,
        queues: Mapping[str, int | None],
        by: Actor | None = None,
        within: float = NOTED_WITHIN,
    ) -> bool:
        """Set how many jobs of these queues may run at the same time, over all workers.

        Returns when all workers have noted it, as `pause` does; an unchanged limit need not be
        noted.
        """

    def pause(
        self, queues: Sequence[str], by: Actor | None = None, within: float = NOTED_WITHIN
    ) -> bool:
        """Stop all workers from starting jobs of these queues.

        Returns when every live worker has noted it, or its lease has expired. False: not all have
        noted it within so many seconds; or it was called in a transaction, which does not wait.
        """

    def wait_noted(self, timeout: float) -> bool:
        """Wait until all workers have noted the rules; False: not within so many seconds."""

    def resume(self, queues: Sequence[str], by: Actor | None = None) -> None:
        """Let the workers start jobs of these queues again."""

    def pause_schedule(self, name: str, paused: bool, by: Actor | None = None) -> bool:
        """Stop a schedule from creating jobs, or let it create them again; False: unknown."""

    def workers(self) -> Sequence[WorkerRecord]:
        """The workers, the oldest first."""

    def queues(self, limit: int | None = None) -> Sequence[QueueRecord]:
        """Return the queues that have unfinished jobs, by name.

        With `limit`, due, scheduled and waiting jobs are counted up to that number; a larger number
        may be too small, and a queue in which all jobs wait may be missing.
        """

    def tasks(self, limit: int | None = None) -> Sequence[TaskRecord]:
        """The tasks that have unfinished jobs, by name.

        With `limit`, only that number of the newest queued jobs is counted. `counters` has the
        jobs that ended.
        """

    def revision(self) -> str:
        """A text that changes when anything in the store changes; it may also change without that.

        It is cheap, for callers that poll.
        """

    def counters(self, since: float, seconds: int = MINUTE) -> Sequence[CounterRecord]:
        """Return the counters of each period that began since then, by its start.

        The jobs that ended lately and are not counted yet come last, up to 10,000 of them.

        Args:
            seconds: the length of the periods: MINUTE, TEN_MINUTES or HOUR. Of the first there are
                two days, of the second 14 days, of the last a year.
        """

    def audit(self, limit: int = 100, before: str | None = None) -> Sequence[AuditRecord]:
        """The newest actions of people first, in pages; they are kept for a year.

        `before` is the last id of the page before.
        """

    def note(self, action: str, targets: Sequence[str], count: int, by: Actor) -> None:
        """Write an action into the audit for which no verb has `by`, such as adding a job.

        Call it in the transaction of the action. With a count of 0 nothing is written.
        """

    def examine(self) -> Sequence[Remark]:
        """Report the set-up and the condition of the database, with advice."""

    # `by` is for the audit, which is written in the transaction of the action if that has changed
    # anything; without it nothing is written.

    # `tenant` is a tag: only jobs that have it are changed, and none with which a job without it
    # would change: one that follows it, directly or not.

    def cancel(
        self,
        ids: Sequence[str],
        reason: str,
        by: Actor | None = None,
        tenant: str | None = None,
    ) -> Sequence[bool]:
        """Cancel queued jobs, and their followers; ask running ones to end.

        False: it has ended already, does not exist, or this tenant must not change it.
        """

    def retry(
        self, ids: Sequence[str], by: Actor | None = None, tenant: str | None = None
    ) -> Sequence[bool]:
        """Queue ended jobs again; the next attempt has the next number. False: not ended.

        Followers that were cancelled because of them are queued behind them again.
        """

    def delete(
        self, ids: Sequence[str], by: Actor | None = None, tenant: str | None = None
    ) -> Sequence[bool]:
        """Delete jobs that are not running; the followers of a queued one move up."""

    def restore(self, records: Sequence[JobRecord]) -> Sequence[bool]:
        """Add the jobs of another store; a running one is queued again. False: it exists."""

    def script(self) -> str:
        """All migrations as SQL, to be run by hand."""

    # ------------------------------------------------------------------ in the user's transaction

    def adding(self, jobs: Sequence[NewJob]) -> Sequence[Statement]:
        """Make the statements that add these jobs, queued, on the application's connection."""

    def reserving(self) -> Sequence[Statement]:
        """Make the statements that come first there, if rows are read before they are written."""

    def known(self, ids: Sequence[str]) -> Statement:
        """Make the statement that returns (id, ended) of those of these jobs that exist there."""

    def keyed(self, unique_key: str) -> Statement:
        """Make the statement that returns (id, ended, task, arguments) of the jobs with this key.

        The unfinished one comes first, then the latest ended one.
        """

    def sharing(self, job_id: str, job: NewJob) -> Statement:
        """Make the statement that shares an existing job there, as `add` does."""

    def completing(self, settlement: Settlement) -> Sequence[Statement]:
        """Make the statements that settle an attempt; the first returns a row if it was ours."""

    def identifying(self) -> Statement:
        """Make the statement that returns `identity`, if that connection reaches this store."""

    def announcing(self) -> Sequence[Statement]:
        """Make the statements, if any, that wake the workers when that transaction commits."""


def held_claim(job: NewJob, worker: str, now: float, *, waits: bool = False) -> Claim:
    """Return the claim that adding a held job gave to its worker; see `Added.waits`."""
    return Claim(
        job.id,
        1,
        worker,
        job.task,
        job.arguments,
        now,
        job.queue,
        job.options,
        job.tags,
        limited=waits or job.limit_key is not None,
        fence=held_fence(job.id),
    )


def recovery_delay(lost: int, lease: float) -> float:
    """Return the seconds to wait after the `lost`-th loss: 0, then one lease, then doubled.

    >>> [recovery_delay(lost, lease=30) for lost in (1, 2, 3)]
    [0.0, 30.0, 60.0]
    """
    return 0.0 if lost <= 1 else float(lease) * 2 ** (lost - 2)
