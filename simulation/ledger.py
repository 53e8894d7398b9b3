"""The ledger: what clients were told and what ran, and the checks that the two agree.

The ledger is outside all processes, so it survives them. A message begins with the rule that was
broken, usually the number of an invariant: I1 durable before the answer, I2 nothing of a failed
handler, I3 all jobs of a request or none, I4 nothing behind a 503, I6 bound jobs follow their
transaction, I8 one job for a key, I9 every promised job ends, I10 no run without a cause, I13 the
attempt is on record before it begins. "rule" is a pause, a limit or a rate, "lock" a lock of
another transaction, "clock" a host's clock, "orphan" a job that waits for one that does not exist.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import apsw

from simulation.known import is_known
from simulation.scenario import RULED, Add, Jump, Outage, Scenario, Stall
from simulation.store import patiently
from simulation.world import Owner, World

T = TypeVar("T")
FINAL = ("completed", "failed", "cancelled")
MAX_LOST = 3
SCHEDULE = "tick"  # the name of the schedule, and the token of its jobs
NOTICED = 1.0  # seconds within which an occurrence gets its job
LATE = 60.0  # seconds; no call asks for a delay between this and an hour
RATE, PERIOD = 2, 1.0  # the rate of `tasks.rated`: runs, and seconds
_WORK = "json_extract(arguments, '$.token')"
_COLUMNS = (
    "id, state, attempt, lost, failures, interrupted, request_id, error, unique_key, worker,"
    f" run_at, {_WORK}"
)
_TABLES = ("afterword_jobs", "afterword_history")


@dataclass(frozen=True, slots=True)
class Row:
    """A job's row in the store's file."""

    id: str
    state: str
    attempt: int
    lost: int
    failures: int
    interrupted: int
    request_id: str | None
    error: str | None
    unique_key: str | None
    worker: str | None
    run_at: float
    token: str

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def poisoned(self) -> bool:
        """True if it was lost so often that it is not tried again."""
        return self.lost >= MAX_LOST


@dataclass(slots=True, eq=False)
class Run:
    """One run of a task."""

    token: str
    job_id: str | None
    attempt: int
    owner: Owner
    kind: str = ""
    ended: str | None = None  # completed, failed, cut
    ended_at: float = 0.0

    @property
    def goes_on(self) -> bool:
        """True if its code is running."""
        return self.ended is None and not self.owner.dead


@dataclass(slots=True, eq=False)
class Chain:
    """The attempts of one request or one binding, in order."""

    attempts: list["Attempt"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Attempt:
    """One try to add a job, and its outcome as far as the caller knows."""

    add: Add
    chain: Chain | None
    keyed: bool
    handle: Any = None
    said: str = "open"  # promised, refused, unsure
    sure: bool = False  # it must have run in its request, which ended normally
    jobs_before: frozenset[str] = frozenset()  # with its unique key, but ended or cancelled before
    ending: frozenset[str] = frozenset()  # jobs that were cancelled before it began
    behind: Sequence["Chain"] = ()  # chains that still grow when it is added; it may follow each

    def promise(self) -> None:
        """Note that the caller was told that it will run."""
        if self.said in ("open", "unsure"):
            self.said = "promised"

    def refuse(self) -> None:
        """Note that the caller was told that it will not run."""
        if self.said == "open":
            self.said = "refused"

    def unsure(self) -> None:
        """Note that the caller was told nothing."""
        if self.said == "open":
            self.said = "unsure"


@dataclass(slots=True, eq=False)
class Story:
    """All attempts and runs of one token."""

    attempts: list[Attempt] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    doubted: int = 0

    def count(self, *said: str) -> int:
        """Count the attempts with one of these outcomes."""
        return sum(each.said in said for each in self.attempts)


LIMITS = {"single": 1, "paired": 2}  # kinds of tasks with a limit


class Ledger:
    """The ledger of one seed."""

    def __init__(self, world: World, scenario: Scenario, path: Path) -> None:
        self.world = world
        self.scenario = scenario
        self.violations: list[str] = []
        self.stories: dict[str, Story] = {}
        self.together: list[list[Attempt]] = []  # for each request: its adds before the answer
        self._path = path
        self._connection: Any = None
        self._random = Random(f"ledger {scenario.seed}")
        # The acts of people that the store has confirmed.
        self.is_paused = False  # the queue "mail"
        self.limit: int | None = None  # of that queue
        self.stops_schedule = False
        self.began_at = 0.0  # the store's time at which all processes had started
        self.ended_at = 0.0  # the store's time at which the schedule was stopped at the end
        self.to_end: set[str] = set()  # ids of jobs that a person has cancelled
        self.meddled: set[str] = set()  # tokens of jobs that were cancelled, deleted or retried
        self.deleted: set[str] = set()  # ids
        self.retried: set[str] = set()  # tokens of jobs that were retried
        self.removed: set[str] = set()  # tokens of jobs that were deleted
        self.erased = False  # a row was deleted by hand
        self.jumped = any(isinstance(each, Jump) for each in scenario.faults)
        self._runs: list[Run] = []
        self._slots: dict[str, float] = {}  # times at which runs of the rated task were due
        self._purged: dict[str, Row] = {}

    def choose(self, choices: Sequence[T]) -> T:
        """Return one of them, chosen by the seed."""
        return self.world.random.choice(choices)

    def broken(self, rule: str, text: str) -> None:
        """Note a violation of a rule."""
        self.world.note(f"BROKEN {rule}: {text}")
        self.violations.append(f"{rule}: {text}")

    def story(self, token: str) -> Story:
        """Return the story of a token."""
        return self.stories.setdefault(token, Story())

    def attempt(self, add: Add, chain: Chain | None = None, *, keyed: bool = False) -> Attempt:
        """Note that a caller is about to add; returns its attempt."""
        attempt = Attempt(add, chain, keyed, ending=frozenset(self.to_end))
        self.story(add.token).attempts.append(attempt)
        if chain is not None:
            chain.attempts.append(attempt)
        return attempt

    def doubt(self, jobs: Sequence[Any]) -> None:
        """Note stored jobs whose caller was told that they may not be stored."""
        for job in jobs:
            token = job.arguments.partition('"token":')[2].split('"')[1]
            self.story(token).doubted += 1

    # ------------------------------------------------------------------ the store's file

    def rows(self, token: str) -> list[Row]:
        """Return the jobs of a token, the purged ones included."""
        found = self._rows(f"{_WORK} = ?", token)
        there = {each.id for each in found}
        purged = [each for each in self._purged.values() if each.token == token]
        return [*found, *(each for each in purged if each.id not in there)]

    def some_job(self, verb: str) -> tuple[str, str] | None:
        """Choose a job; returns its id and token. To be deleted, it is a queued one if possible."""
        queued = sorted((each[0], each[2]) for each in self.unfinished() if each[1] == "queued")
        if verb in ("delete", "erase") and queued:
            return self.choose(queued)
        sql = " UNION ALL ".join(f"SELECT id, {_WORK} FROM {table}" for table in _TABLES)
        found = sorted(self._execute(sql, ()))
        running = [
            each
            for each in found
            if any(run.job_id == each[0] for run in self._runs if run.goes_on)
        ]
        return self.choose(self.choose((running or found, found))) if found else None

    def erase(self, job_id: str) -> None:
        """Delete a queued job's row by hand."""
        sql = "DELETE FROM afterword_jobs WHERE id = ? AND state = 'queued'"
        patiently(lambda: self._execute(sql, (job_id,)))
        if self.scenario.shared:
            self._connection.commit()

    @contextmanager
    def purging(self, retention: float) -> Iterator[None]:
        """Keep the rows that a process deletes from history, and check that they are old enough."""
        before = {each.id: each for each in self._history()}
        yield
        left = {each.id for each in self._history()}
        for row in before.values():
            if row.id not in left:
                self._purged[row.id] = row
                self._check_age(row, retention)

    def _history(self) -> list[Row]:
        return [Row(*each) for each in self._execute(f"SELECT {_COLUMNS} FROM {_TABLES[1]}", ())]

    def _check_age(self, row: Row, retention: float) -> None:
        if self.jumped or row.token in self.meddled:
            return
        ends = [each.ended_at for each in self.story(row.token).runs if each.job_id == row.id]
        age = self.world.now - max(ends, default=0.0)
        if age < retention - 0.01:
            self.broken("purge", f"{row.token} is purged {age:g} s after its end")

    def row(self, job_id: str) -> Row | None:
        """Return the job with an id, even if it was purged."""
        found = self._rows("id = ?", job_id)
        return found[0] if found else self._purged.get(job_id)

    def unfinished(self) -> list[tuple[str, str, str, float, str | None]]:
        """Return the jobs that have not ended: id, state, token, time due, the job they follow."""
        sql = f"SELECT id, state, {_WORK}, run_at, after FROM afterword_jobs"
        return list(self._execute(sql, ()))

    def with_key(self, key: str) -> list[Row]:
        """Return the jobs with a unique key."""
        return self._rows("unique_key = ?", key)

    def _rows(self, condition: str, value: str) -> list[Row]:
        sql = " UNION ALL ".join(f"SELECT {_COLUMNS} FROM {t} WHERE {condition}" for t in _TABLES)
        return [Row(*each) for each in self._execute(sql, (value, value))]

    def _execute(self, sql: str, values: tuple[Any, ...]) -> Sequence[Any]:
        if self._connection is None:
            connect: Callable[[str], Any] = (
                sqlite3.connect if self.scenario.shared else apsw.Connection
            )
            self._connection = connect(str(self._path))
        found: Sequence[Any] = self._connection.execute(sql, values).fetchall()
        return found

    def close(self) -> None:
        """Close the connection to the store's file."""
        if self._connection is not None:
            self._connection.close()

    def check_orphans(self) -> None:
        """Check that no job waits for a job that does not exist, or longer than was asked for."""
        now = self.world.now + self.world.wall_is_ahead
        unfinished = self.unfinished()
        ids = {each[0] for each in unfinished}
        for job_id, state, token, run_at, after in unfinished:
            if after is not None and after not in ids and not self.erased:
                self.broken("orphan", f"{token} (job {job_id[-6:]}) waits for what is not there")
            asked = any(each.add.delay for each in self.story(token).attempts)
            if state == "queued" and not self.jumped and not asked and run_at > now + LATE:
                self.broken("clock", f"{token} is to begin in {run_at - now:.0f} s")

    # ------------------------------------------------------------------ runs

    def begin(self, token: str, job_id: str | None, attempt: int) -> Run:
        """Note that a task begins, and check that it may."""
        assert self.world.thread is not None
        story = self.story(token)
        kind = story.attempts[0].add.kind if story.attempts else ""
        run = Run(token, job_id, attempt, self.world.thread.owner, kind)
        self.world.note(f"begins {token} attempt {attempt}")
        if job_id is not None:
            self._check_begin(run, story)
            self._check_rules(run)
        self._check_order(run, story)
        story.runs.append(run)
        self._runs.append(run)
        return run

    def _check_rules(self, run: Run) -> None:
        """Check pauses, limits and rates, unless the process was stopped for more than a second."""
        if getattr(run.owner, "slept", 0.0) > 1.0:
            return
        if run.kind == "mail":
            if self.is_paused:
                self.broken("rule", f"{run.token} begins, but its queue is paused")
            if self.limit is not None:
                self._check_limit(run, self.limit)
        elif run.kind in LIMITS:
            self._check_limit(run, LIMITS[run.kind])
        elif run.kind == "rated":
            self._check_rate(run)

    def _check_limit(self, run: Run, limit: int) -> None:
        others = [each for each in self._runs if each.kind == run.kind and self._has_place(each)]
        if len(others) >= limit:
            names = ", ".join(each.token for each in others)
            self.broken("rule", f"{run.token} begins beside {names}: the limit is {limit}")

    def _has_place(self, run: Run) -> bool:
        """True if it is running and its attempt is still the one in the store."""
        row = self.row(run.job_id) if run.goes_on and run.job_id else None
        return row is not None and (row.state, row.attempt) == ("running", run.attempt)

    def _check_rate(self, run: Run) -> None:
        rows = self._execute("SELECT slot_at FROM afterword_jobs WHERE id = ?", (run.job_id,))
        if self.jumped or not rows or rows[0][0] is None:
            return
        self._slots[f"{run.job_id} {run.attempt}"] = rows[0][0]
        slots = sorted(self._slots.values())
        for first, last in zip(slots, slots[RATE:], strict=False):
            if last - first < PERIOD - 0.001:
                self.broken("rule", f"{run.token}: {RATE + 1} times within {last - first:g} s")
        if rows[0][0] > self.world.now + self.world.wall_is_ahead + 0.001:
            self.broken("rule", f"{run.token} begins before its time")

    def end(self, run: Run, *, failed: bool = False) -> None:
        """Note that a task has ended."""
        run.ended, run.ended_at = "failed" if failed else "completed", self.world.now
        self.world.note(f"ends {run.token} {run.ended}")

    def cut(self, run: Run) -> None:
        """Note that a task is cancelled."""
        run.ended, run.ended_at = "cut", self.world.now
        if not run.owner.dead:
            self.world.note(f"cut {run.token}")

    def _check_begin(self, run: Run, story: Story) -> None:
        assert run.job_id is not None
        row, name = self.row(run.job_id), run.token
        if row is None and any(each.add.how == "hand" for each in story.attempts):
            pass  # Starlette called it before the store had answered: it runs in its request
        elif row is None or not self._is_on_record(run, row):
            self.broken("I13", f"{name} begins attempt {run.attempt}, but the store has {row}")
            return
        before = [each for each in story.runs if each.job_id == run.job_id]
        self._check_beside(run, row, before)
        twice = any(each.attempt == run.attempt for each in before)
        if twice and not self._may_come_back(run.token, run.job_id):
            self.broken("I10", f"{name} begins attempt {run.attempt} twice")
        causes = 0 if row is None else row.lost + row.failures + row.interrupted
        if row is not None and run.attempt - 1 > causes and run.token not in self.meddled:
            self.broken("I10", f"{name} begins attempt {run.attempt} without a cause: {row}")
        if run.token == SCHEDULE:
            return
        if not story.count("open", "promised", "unsure") and not story.doubted:
            self.broken("I4", f"{name} begins, but nobody was told so: all were refused")

    def _check_beside(self, run: Run, row: Row | None, before: Sequence[Run]) -> None:
        """Check that a deleted job does not run, and no job twice at once unless it was lost."""
        if run.job_id in self.deleted and not self._may_come_back(run.token, run.job_id):
            self.broken("deleted", f"{run.token} begins, but has been deleted")
        if row is None or row.lost or run.token in self.meddled:
            return
        if any(each.goes_on for each in before):
            self.broken("I10", f"{run.token} begins attempt {run.attempt} beside another one")

    def _may_come_back(self, token: str, job_id: str) -> bool:
        """True for a deleted occurrence that the schedule of another release may add again."""
        return job_id in self.deleted and token == SCHEDULE and len(self.scenario.every) > 1

    def _is_on_record(self, run: Run, row: Row) -> bool:
        """True if the attempt is in the store; a stopped process may begin one that it has lost."""
        stalls = any(isinstance(each, Stall | Outage) for each in self.scenario.faults)
        slept = stalls and row.attempt > run.attempt and row.lost > 0
        return slept or (row.state, row.attempt) == ("running", run.attempt)

    def _check_order(self, run: Run, story: Story) -> None:
        if self.scenario.order != "sequential" or not story.attempts:
            return
        mine = self.row(run.job_id) if run.job_id else None
        for attempt in story.attempts:
            if attempt.chain is None or attempt.add.unique or attempt.said == "refused":
                continue
            if mine is None and self._is_for_later(attempt.chain):
                continue  # a run in its request does not wait for jobs that are for later
            if any(each.add.token in self.removed for each in attempt.chain.attempts):
                continue  # a call that is added behind a deleted job has nothing to wait for
            position = attempt.chain.attempts.index(attempt)
            for earlier in attempt.chain.attempts[:position]:
                if earlier.said != "refused":
                    self._check_earlier(run, mine, earlier)
            if mine is None and not attempt.keyed:
                self._check_none_later(run, attempt.chain.attempts[position + 1 :])

    def _is_for_later(self, chain: Chain) -> bool:
        """True if one of its jobs may start much later."""
        return any(
            each.add.delay is not None or each.add.kind in ("flaky", *RULED)
            for each in chain.attempts
        )

    def _check_earlier(self, run: Run, mine: Row | None, earlier: Attempt) -> None:
        if earlier.add.how == "here" or earlier.add.token in self.meddled:
            return
        row = self._row_of(earlier, mine)
        if row is None:
            return
        name = earlier.add.token
        if not row.final:
            self.broken("order", f"{run.token} begins before {name} has ended ({row.state})")
        elif row.state != "completed" and self._stops(earlier):
            self.broken("stop", f"{run.token} begins although {name} before it {row.state}")

    def _row_of(self, earlier: Attempt, mine: Row | None) -> Row | None:
        if mine is None or earlier.add.unique:
            one = (
                sum(each.chain is not None for each in self.story(earlier.add.token).attempts) == 1
            )
            known = one and earlier.handle is not None and earlier.handle.durable
            row = self.row(earlier.handle.id) if known and earlier.said == "promised" else None
            # Behind another request's job they follow the last job of their own request.
            return row if row is None or mine is None or row.request_id == mine.request_id else None
        rows = [each for each in self.rows(earlier.add.token) if each.request_id == mine.request_id]
        return rows[0] if rows else None

    def _stops(self, earlier: Attempt) -> bool:
        chain = earlier.chain.attempts if earlier.chain else ()
        if any(each.add.token in self.retried for each in chain):
            return False  # a retried job runs, and so do the jobs that it had stopped
        return self.scenario.on_failure == "stop" and earlier.add.unique is None

    def _check_none_later(self, run: Run, later: Sequence[Attempt]) -> None:
        for each in later:
            runs = self.story(each.add.token).runs
            if not each.add.unique and any(other.owner is run.owner for other in runs):
                self.broken(
                    "order", f"{run.token} begins after {each.add.token}, which comes later"
                )

    # ------------------------------------------------------------------ at the moment of a promise

    def check_durable(self, attempts: Sequence[Attempt]) -> None:
        """Check I1: a job that the client is promised now must be in the file now."""
        for each in attempts:
            if each.handle is None or not each.handle.durable:
                continue
            if each.handle.id in self.to_end & each.jobs_before:
                self.broken("I8", f"{each.add.token} was promised as a job that was cancelled")
            is_there = self.row(each.handle.id) is not None or self._has_key_of(each)
            if not is_there and each.add.token not in self.meddled:
                self.broken("I1", f"{each.add.token} is promised, but not in the store")

    def _has_key_of(self, attempt: Attempt) -> bool:
        """True if a new job has its key: a binding cannot learn that it shares another job."""
        key = attempt.add.unique
        return bool(key and {each.id for each in self.with_key(key)} - attempt.jobs_before)

    # ------------------------------------------------------------------ at the end

    def check_all(self) -> None:
        """Check everything at the end, when all jobs have had time to run without faults."""
        for attempts in self.together:
            self._check_together([each for each in attempts if self._is_plain(each)])
        for token, story in self.stories.items():
            attempts = story.attempts
            if token == SCHEDULE:
                self._check_schedule(story)
            elif attempts and attempts[0].add.how == "here":
                self._check_here(token, story)
            elif attempts and attempts[0].add.unique:
                self._check_unique(token, story)
            else:
                self._check_story(token, story)

    def _is_plain(self, attempt: Attempt) -> bool:
        """True if a job of this token can only be this attempt's."""
        token = attempt.add.token
        alone = len(self.story(token).attempts) == 1 and token not in self.meddled
        return alone and attempt.add.how == "injected" and not attempt.add.unique

    def _check_together(self, attempts: Sequence[Attempt]) -> None:
        """Check I3: all jobs of a request are stored, or none."""
        stored = [each.add.token for each in attempts if self.rows(each.add.token)]
        if 0 < len(stored) < len(attempts):
            added = [each.add.token for each in attempts]
            self.broken("I3", f"of {added} only {stored} were stored")

    def _check_story(self, token: str, story: Story) -> None:
        rows = self.rows(token)
        promised, unsure = story.count("promised"), story.count("unsure", "open")
        most = promised + unsure + story.doubted
        keyed = any(each.keyed for each in story.attempts)
        if keyed and token in self.meddled:
            most, keyed = len(rows), False  # a deleted job may be stored again
        if keyed and is_known("refused_is_counted") and self._was_refused(story):
            most = len(rows)
            keyed = False
        if len(rows) > (min(most, 1) if keyed else most):
            rule = "I8" if keyed else "I4"
            said = [each.said for each in story.attempts]
            self.broken(
                rule, f"{token} was stored {len(rows)} times, but its callers were told {said}"
            )
        if promised and not rows and token not in self.meddled:
            self.broken("I9", f"{token} was promised, and is not in the store")
        for row in rows:
            self._check_row(token, story, row)

    def _was_refused(self, story: Story) -> bool:
        """True if one of its calls, or another one in their chains, has not been promised."""
        chains = [each.chain for each in story.attempts if each.chain is not None]
        chains += [chain for each in story.attempts for chain in each.behind]
        others = [each for chain in chains for each in chain.attempts]
        return any(each.said != "promised" for each in (*story.attempts, *others))

    def _check_row(self, token: str, story: Story, row: Row) -> None:
        runs = [each for each in story.runs if each.job_id == row.id]
        if not row.final:
            self.broken("I9", f"{token} has not ended: {row}")
        if len(runs) > row.attempt and not self._may_come_back(token, row.id):
            self.broken("I10", f"{token} ran {len(runs)} times in {row.attempt} attempts")
        if row.state == "completed" and not any(each.ended == "completed" for each in runs):
            self.broken("I9", f"{token} is completed, but never ran to its end")
        may_fail = bool(story.attempts) and story.attempts[0].add.kind == "fails"
        if row.state == "failed" and not row.poisoned and not may_fail:
            self.broken("I9", f"{token} failed: {row.error}")
        # If a request is given up while its jobs are being stored, they are cancelled afterwards.
        given_up = not story.count("promised")
        stopped = given_up or token in self.meddled or self._may_be_stopped(story)
        if row.state == "cancelled" and not stopped:
            self.broken("I9", f"{token} was cancelled: {row.error}")

    def _check_schedule(self, story: Story) -> None:
        """Check that each occurrence has one job and that none between first and last was lost."""
        rows = self.rows(SCHEDULE)
        due = sorted(int(row.id[:8] + row.id[9:13], 16) // 1000 for row in rows)
        if len(set(due)) < len(due):
            self.broken("schedule", f"an occurrence was stored twice: {due}")
        for row in rows:
            self._check_row(SCHEDULE, story, row)
        if self.stops_schedule or SCHEDULE in self.meddled or self.jumped_early:
            return
        for every in self.scenario.every[: len(self.scenario.roles)]:
            self._check_none_lost(every, due)

    def _check_none_lost(self, every: int, due: Sequence[int]) -> None:
        """Check from the start to the last occurrence that only this rule can have made.

        Without faults, check until the schedule was stopped at the end.
        """
        others = [each for each in self.scenario.every if each != every]
        own = [at for at in due if not at % every and all(at % each for each in others)]
        first = int(self.began_at) // every * every + every
        last = max(own, default=0)
        if not self.scenario.faults:
            last = max(last, int(self.ended_at - NOTICED))
        lost = [at for at in range(first, last + 1, every) if at not in due]
        if lost:
            self.broken("schedule", f"of every {every} s {lost} were lost: {due}")

    @property
    def jumped_early(self) -> bool:
        """True if the scenario sets the clock."""
        return any(isinstance(each, Jump) for each in self.scenario.faults)

    def _may_be_stopped(self, story: Story) -> bool:
        """True if a person meddled with it, or if a call before it in its chain may have failed."""
        if any(each.add.token in self.meddled for each in story.attempts):
            return True
        for attempt in story.attempts:
            chain = attempt.chain.attempts if attempt.chain else []
            before = chain[: chain.index(attempt)] if attempt in chain else []
            before = [*before, *(each for chain in attempt.behind for each in chain.attempts)]
            if any(self._may_fail(each) for each in before if each is not attempt):
                return True
        return any(each.chain is None and each.add.unique for each in story.attempts)

    def _may_fail(self, attempt: Attempt) -> bool:
        if self.scenario.order == "concurrent":
            return False
        poisoned = any(row.poisoned for row in self.rows(attempt.add.token))
        may_end = attempt.add.kind == "fails" or attempt.add.token in self.meddled
        return may_end or attempt.add.unique is not None or poisoned

    def _check_unique(self, token: str, story: Story) -> None:
        for attempt in story.attempts:
            if attempt.said != "promised" or attempt.handle is None:
                continue
            if attempt.handle.id in attempt.ending:
                self.broken("I8", f"{token} got a job that had been asked to end")
            row = self.row(attempt.handle.id)
            if row is None and not self._has_key_of(attempt) and token not in self.meddled:
                self.broken(
                    "I8", f"{token} was promised as job {attempt.handle.id[-6:]}, which is gone"
                )
        for row in self.rows(token):
            runs = [each for each in story.runs if each.job_id == row.id]
            if not row.final:
                self.broken("I9", f"{token} has not ended: {row}")
            if row.state == "completed" and not runs:
                self.broken("I9", f"{token} is completed, but never ran")

    def _check_here(self, token: str, story: Story) -> None:
        most = story.count("promised", "unsure", "open")
        if len(story.runs) > most:
            self.broken(
                "I4", f"{token} ran {len(story.runs)} times, but {most} at most were wanted"
            )
        sure = sum(each.sure for each in story.attempts)
        if len(story.runs) < sure and not self._may_be_stopped(story):
            self.broken("I9", f"{token} could not be stored, and did not run in its request")
