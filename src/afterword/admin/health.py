"""The health of a store, computed from one snapshot."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from afterword.admin.duration import show_instant, show_span
from afterword.admin.failures import last_line
from afterword.admin.words import at_least, many
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter, QueueRecord, ScheduleRecord, WorkerRecord
from afterword.store.protocol import Store
from afterword.telemetry import printable

COUNT_LIMIT = 10_000  # jobs of a state are counted up to this
STALE = 300.0  # seconds of waiting after which a due job or schedule is a problem
FORGOTTEN = 300.0  # seconds since a schedule was declared (every minute) until no code has it
_RUNNING = 200  # newest running jobs that are checked for being asked to end
_PARKED = 200  # newest parked jobs that are looked at
_TAKEN_WITHIN = 5.0  # seconds within which a worker with a free slot takes a job that it can run
_GROUPS = 5  # of parked jobs that are shown
_REASON = 200  # characters of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a store at one moment, `now` (seconds since 1970).

    Args:
        asked: jobs that were asked to end, among the newest running ones.
        parked: queued jobs that no worker could run so far, the newest ones.
    """

    counts: Mapping[JobState, int]
    queues: Sequence[QueueRecord]
    workers: Sequence[WorkerRecord]
    now: float
    schedules: Sequence[ScheduleRecord] = ()
    asked: Sequence[JobRecord] = ()
    parked: Sequence[JobRecord] = ()

    @property
    def oldest(self) -> QueueRecord | None:
        """The queue whose due jobs have waited longest; paused queues do not count."""
        queues = [queue for queue in self.queues if queue.due and not queue.paused]
        due = [(queue.oldest_at, queue) for queue in queues if queue.oldest_at]
        return min(due, key=lambda pair: pair[0])[1] if due else None

    def waits(self, queue: QueueRecord) -> float:
        """Return the seconds for which a queue's oldest due job has waited."""
        since = queue.oldest_at.timestamp() if queue.oldest_at and queue.due else self.now
        return max(0.0, self.now - since)

    def serving(self, queue: str) -> list[WorkerRecord]:
        """Return the workers that take jobs from this queue."""
        return [worker for worker in self.workers if serves(worker, queue)]

    @property
    def unserved(self) -> list[QueueRecord]:
        """The queues with jobs that no worker serves."""
        return [queue for queue in self.queues if has_jobs(queue) and not self.serving(queue.name)]

    @property
    def held_up(self) -> list[QueueRecord]:
        """The paused queues in which jobs are due."""
        return [queue for queue in self.queues if queue.paused and queue.due]

    @property
    def overdue(self) -> list[ScheduleRecord]:
        """The schedules of running code that create no jobs."""
        return [each for each in self.schedules if is_overdue(each, self.now)]

    @property
    def problems(self) -> list[str]:
        """The problems that need a person, most urgent first; empty for a healthy store."""
        unserved = self._unserved() or self._no_worker()
        parked = parked_in_words(self.stuck, self.now)
        return [*unserved, *parked, *self._stale(), *self._gone(), *self._overdue()]

    @property
    def notes(self) -> list[str]:
        """The states that a person has caused and should remember."""
        parked = parked_in_words(self.not_stuck, self.now)
        return [*self._held_up(), *parked, *self._asked()]

    @property
    def stuck(self) -> list[JobRecord]:
        """The parked jobs for which a worker that can run them is not likely to exist.

        A worker that knows the task would have taken the job, unless it has no free slot.
        """
        return [job for job in self.parked if self._is_stuck(job)]

    @property
    def not_stuck(self) -> list[JobRecord]:
        """The other parked jobs: a worker that can run them may be busy, or about to start."""
        return [job for job in self.parked if not self._is_stuck(job)]

    def _is_stuck(self, job: JobRecord) -> bool:
        seconds = parked_for(job, self.now)
        serving = self.serving(job.queue)
        free = all(worker.running < worker.concurrency for worker in serving)
        return seconds > STALE or (seconds > _TAKEN_WITHIN and bool(serving) and free)

    @property
    def left_waiting(self) -> str:
        """Describe what waits for a worker, if there is none at all; "" if nothing does."""
        if any(serves(worker) for worker in self.workers):
            return ""
        queues = [queue for queue in self.queues if not queue.paused]
        jobs = sum(queue.due + queue.scheduled + queue.waiting for queue in queues)
        schedules = sum(not each.paused for each in self.schedules)
        number = many(jobs, "job") if jobs <= COUNT_LIMIT else f"{capped(jobs)} jobs"
        words = [number] * bool(jobs) + [many(schedules, "schedule")] * bool(schedules)
        return " and ".join(words)

    def _no_worker(self) -> list[str]:
        left = self.left_waiting
        return [f"no worker takes jobs, but {left} {wait_verb(left)} for one"] if left else []

    def _unserved(self) -> list[str]:
        return [
            f"no worker serves the queue {printable(queue.name)}: {due_jobs_wait(queue)}"
            for queue in self.unserved
            if queue.due and not queue.paused
        ]

    def _stale(self) -> list[str]:
        return [
            f"the oldest due job in the queue {printable(queue.name)} has waited for"
            f" {show_span(self.waits(queue))}"
            for queue in self.queues
            if self.waits(queue) > STALE and not queue.paused
        ]

    def _gone(self) -> list[str]:
        return [
            f"the worker {printable(worker.id)} on {printable(worker.host)} is gone, but still"
            f" holds {worker.running:,} running jobs"
            for worker in self.workers
            if worker.running and not worker.alive
        ]

    def _overdue(self) -> list[str]:
        return [
            f"the schedule {printable(each.name)} has created no job since it was due at"
            f" {show_instant(each.next_at)}"
            for each in self.overdue
        ]

    def _held_up(self) -> list[str]:
        return [
            f"the queue {printable(queue.name)} is paused: {due_jobs_wait(queue)}"
            for queue in self.held_up
        ]

    def _asked(self) -> list[str]:
        if not self.asked:
            return []
        number = len(self.asked)
        jobs = f"{number:,} jobs were" if number > 1 else "1 job was"
        return [f"{jobs} asked to end and still run{'s' * (number == 1)}: {self.asked[0].id}"]


def look_at(store: Store, now: float) -> Snapshot:
    """Take a snapshot of everything that a store's health depends on."""
    running = store.find(Filter(state=JobState.RUNNING), _RUNNING)
    return Snapshot(
        counts=store.count(limit=COUNT_LIMIT + 1),
        queues=store.queues(COUNT_LIMIT + 1),
        workers=store.workers(),
        now=now,
        schedules=store.schedules(),
        asked=[job for job in running if job.cancelling is not None],
        parked=store.find(Filter(parked=True), _PARKED),
    )


def parked_for(job: JobRecord, now: float) -> float:
    """Return the seconds since a worker first could not run a job; 0 if none has met it."""
    return max(0.0, now - job.parked_at.timestamp()) if job.parked_at else 0.0


def parked_in_words(jobs: Sequence[JobRecord], now: float) -> list[str]:
    """Describe jobs that no worker could run, a line per task and reason."""
    groups: dict[tuple[str, str], list[JobRecord]] = defaultdict(list)
    for job in jobs:
        sentence = last_line(job.error).partition(". ")[0][:_REASON]  # `show` has all of it
        groups[job.task, sentence].append(job)
    lines = [_parked_of(task, reason, found, now) for (task, reason), found in groups.items()]
    more = len(lines) - _GROUPS
    return [*lines[:_GROUPS], *([f"{more} more tasks with such jobs"] if more > 0 else [])]


def _parked_of(task: str, reason: str, jobs: Sequence[JobRecord], now: float) -> str:
    number, them = many(len(jobs), "job"), "it" if len(jobs) == 1 else "them"
    longest = show_span(max(parked_for(job, now) for job in jobs))
    return (
        f"{number} of {printable(task)} {wait_verb(number)} for a worker that can run {them}, for"
        f" {longest}: {printable(reason)}"
    )


def wait_verb(number: str) -> str:
    """Return the verb for a number of things, written as words."""
    return "waits" if number.startswith("1 ") and " and " not in number else "wait"


def has_jobs(queue: QueueRecord) -> bool:
    """Return True if a queue has unfinished jobs, and not only a rule."""
    return bool(queue.due or queue.scheduled or queue.waiting or queue.running)


def is_forgotten(schedule: ScheduleRecord, now: float) -> bool:
    """Return True if no running code has this schedule."""
    return now - schedule.seen_at.timestamp() > FORGOTTEN


def is_overdue(schedule: ScheduleRecord, now: float) -> bool:
    """Return True if running code has this schedule, but its next occurrence is long past."""
    late = now - schedule.next_at.timestamp() > STALE
    return late and not schedule.paused and not is_forgotten(schedule, now)


def serves(worker: WorkerRecord, queue: str | None = None) -> bool:
    """Return True if a worker takes new jobs, from this queue if one is named."""
    takes = worker.alive and not worker.retired and worker.concurrency > 0
    return takes and (queue is None or queue in worker.queues)


def capped(number: int, limit: int = COUNT_LIMIT) -> str:
    """Format a count that stopped just above the limit.

    >>> capped(10_000), capped(10_001)
    ('10,000', '10,000+')
    """
    return at_least(min(number, limit), number > limit)


def due_jobs_wait(queue: QueueRecord) -> str:
    """Describe the number of due jobs in a queue."""
    return f"{capped(queue.due)} due jobs wait" if queue.due > 1 else "1 due job waits"
