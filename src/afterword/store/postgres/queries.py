"""Queries of people, from any thread."""

from collections.abc import Mapping, Sequence

from afterword.model.audit import AuditRecord
from afterword.model.clock import Clock
from afterword.model.failures import TAIL, Failures, grouped
from afterword.model.job import FINAL_STATES, JobRecord, JobState
from afterword.model.records import (
    AttemptRecord,
    Filter,
    QueueRecord,
    Remark,
    TaskRecord,
    WorkerRecord,
)
from afterword.store.auditing import audit_record
from afterword.store.locks import Locks
from afterword.store.parts import Row
from afterword.store.postgres.people import PeopleConnection, repeated
from afterword.store.postgres.rows import conditions, filter_values, uuids
from afterword.store.postgres.session import Session
from afterword.store.protocol import EVERYTHING, NEWEST_FAILURES
from afterword.store.records import (
    attempts_of,
    queue_record,
    record,
    task_record,
    worker_record,
)

# Where to look for jobs of which states.
_PLACES = {
    "find_unfinished": (JobState.QUEUED, JobState.RUNNING),
    "find_ended": tuple(FINAL_STATES),
}


_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"  # sorts behind every id
_SKEW = 5.0  # seconds
_WEAK = "Set fsync and synchronous_commit to on, or jobs are lost when the server's machine fails."
_SKEWED = "Set this machine's clock, say by NTP. Leases do not depend on it, but logs do."
_OLD = "End it: while it lasts nothing is cleared, and claims get slower. See pg_stat_activity."
_BLOATED = "Vacuum cannot keep up: look for long transactions, then VACUUM afterword.jobs."


class Queries:
    """Answers queries of people."""

    def __init__(self, people: PeopleConnection, clock: Clock, locks: Locks) -> None:
        self._people = people
        self._clock = clock
        self._locks = locks

    @repeated
    def get(self, ids: Sequence[str]) -> Sequence[JobRecord]:
        """The jobs with these ids."""
        with self._people.looking() as session:
            return records(session, ids)

    @repeated
    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        """The attempts at a job, the first one first."""
        with self._people.looking() as session:
            found = records(session, [job_id])
            rows = session.execute("attempts", {"id": job_id}) if found else []
        return attempts_of(found[0], rows) if found else []

    @repeated
    def logs(self, job_id: str) -> Mapping[int, str]:
        """The logs of the attempts at a job, by their numbers."""
        with self._people.looking() as session:
            rows = [
                row for each in uuids([job_id]) for row in session.execute("logs", {"id": each})
            ]
        return dict(rows)

    @repeated
    def with_key(self, unique_key: str, *, ended: bool) -> JobRecord | None:
        """The job that has this unique key."""
        values = {"key": unique_key, "limit": 1}
        places = [("find_unfinished", " AND job.cancelling IS NULL")]
        if ended:
            places += [("find_unfinished", " AND job.cancelling IS NOT NULL"), ("find_ended", "")]
        with self._people.looking() as session:
            for each, asked_to_end in places:
                for row in session.execute(each, values, f"job.unique_key = :key{asked_to_end}"):
                    return record(row)
        return None

    @repeated
    def find(
        self, wanted: Filter = EVERYTHING, limit: int = 100, before: str | None = None
    ) -> Sequence[JobRecord]:
        """A page of jobs, newest first."""
        values = {**filter_values(wanted), "limit": limit, "before": before}
        where = conditions(wanted, wanted.state)
        if before is not None:
            where += " AND job.id < CAST(:before AS uuid)"
        rows: list[Row] = []
        with self._people.looking() as session:
            for statement, states in _PLACES.items():
                if wanted.state is None or wanted.state in states:
                    rows += session.execute(statement, values, where)
        return [record(row) for row in sorted(rows, key=_id, reverse=True)[:limit]]

    @repeated
    def window(
        self, many: int, before: str | None = None, state: JobState | None = None
    ) -> str | None:
        """Look in both tables; the higher id bounds what is read of each."""
        where = conditions(EVERYTHING, state)
        if before is not None:
            where += " AND job.id < CAST(:before AS uuid)"
        rows: list[Row] = []
        with self._people.looking() as session:
            for place, states in _PLACES.items():
                if state is None or state in states:
                    statement = place.replace("find", "window")
                    rows += session.execute(statement, {"before": before, "many": many}, where)
        return max((str(_id(row)) for row in rows), default=None)

    @repeated
    def count(
        self, wanted: Filter = EVERYTHING, limit: int | None = None
    ) -> Mapping[JobState, int]:
        """Count the jobs in each state, up to the limit."""
        values = {**filter_values(wanted), "limit": limit}
        counts = dict.fromkeys(JobState, 0)
        with self._people.looking() as session:
            for state in JobState if wanted.state is None else [wanted.state]:
                statement = "count_ended" if state.final else "count_unfinished"
                where = conditions(wanted, state)
                (counts[state],) = session.execute(statement, values, where)[0]
        return counts

    @repeated
    def failures(self, wanted: Filter = EVERYTHING, limit: int = NEWEST_FAILURES) -> Failures:
        """The newest jobs that failed, in groups."""
        values = {**filter_values(wanted), "limit": limit, "tail": TAIL}
        where = conditions(wanted, JobState.FAILED)
        with self._people.looking() as session:
            rows = session.execute("failures", values, where)
            ((now,),) = session.execute("now")
        return grouped(rows, limit, now)

    @repeated
    def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers on the list."""
        with self._people.looking() as session:
            rows = session.execute("workers")
        return [
            worker_record((*row[:-1], row[-1] and not self._locks.is_dead(row[0]))) for row in rows
        ]

    @repeated
    def queues(self, limit: int | None = None) -> Sequence[QueueRecord]:
        """The queues that have unfinished jobs."""
        with self._people.looking() as session:
            return [queue_record(row) for row in session.execute("queues", {"limit": limit})]

    @repeated
    def tasks(self, limit: int | None = None) -> Sequence[TaskRecord]:
        """The tasks that have unfinished jobs."""
        with self._people.looking() as session:
            return [task_record(row) for row in session.execute("tasks", {"limit": limit})]

    @repeated
    def revision(self) -> str:
        """Return the end of the server's log; other databases of the server move it, too."""
        with self._people.looking() as session:
            ((position,),) = session.execute("revision")
        return str(position)

    @repeated
    def audit(self, limit: int = 100, before: str | None = None) -> Sequence[AuditRecord]:
        """A page of the audit, newest first."""
        values = {"limit": limit, "before": before or _LAST_ID}
        with self._people.looking() as session:
            return [audit_record(row) for row in session.execute("audit", values)]

    @repeated
    def examine(self) -> Sequence[Remark]:
        """Report on the server, from its own settings and statistics."""
        # Not `looking`: that would show the other transactions as they were when it began.
        with self._people.acting() as session:
            before = self._clock.now()
            ((version, settings, at, oldest, dead, schema, size),) = session.execute("examine")
        skew = abs(at - (before + self._clock.now()) / 2)
        weak = " off" in settings
        return [
            Remark("server", f"PostgreSQL {version}"),
            Remark("durability", settings, _WEAK if weak else ""),
            Remark("clock", f"{skew:.1f} s from the server's", _SKEWED if skew > _SKEW else ""),
            Remark(
                "transactions", f"the oldest is {oldest:.0f} s old", _OLD if oldest > 60 else ""
            ),
            Remark("schema", f"version {schema}"),
            Remark("size", f"{size / 1e6:,.1f} MB of tables and indexes"),
            Remark("dead rows", f"{dead:,} in jobs", _BLOATED if dead > 1_000_000 else ""),
        ]


def records(session: Session, ids: Sequence[str]) -> Sequence[JobRecord]:
    """The jobs with these ids, in any order."""
    where = "job.id = ANY (CAST(:ids AS uuid[]))"
    values = {"ids": uuids(ids), "limit": None}
    return [record(row) for each in _PLACES for row in session.execute(each, values, where)]


def _id(row: Row) -> str:
    job_id: str = row[0]
    return job_id
