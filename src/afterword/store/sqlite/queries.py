"""Queries of people, from any thread, on a connection that only reads."""

import json
from collections.abc import Mapping, Sequence

from afterword.model.audit import AuditRecord
from afterword.model.clock import Clock
from afterword.model.failures import TAIL, Failures, grouped
from afterword.model.job import JobRecord, JobState
from afterword.model.records import (
    AttemptRecord,
    Filter,
    QueueRecord,
    Remark,
    TaskRecord,
    WorkerRecord,
)
from afterword.store import records
from afterword.store.auditing import audit_record
from afterword.store.locks import Locks
from afterword.store.parts import Row, Values
from afterword.store.protocol import EVERYTHING, NEWEST_FAILURES
from afterword.store.records import (
    attempts_of,
    first_id_since,
    last_id_until,
    queue_record,
    task_record,
    worker_record,
)
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.writer import sql

_LAST_ID = "~"  # sorts behind every id
_ANY = -1  # as a LIMIT
_CONDITIONS = {
    "task": "task = :task",
    "queue": "queue = :queue",
    "worker": "worker = :worker",
    "request_id": "request_id = :request_id",
    "tag": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tag)",
    "tenant": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tenant)",
    "error": "instr(error, :error) > 0 AND state <> 'running'",
    "parked": "parked_at IS NOT NULL",
    "above": "id > :above",
    # By id as well, which is made before the job is added: so the search knows where to end.
    "since": "created_at >= :since AND id >= :first_id",
    "until": "created_at < :until AND id < :last_id",
}


_JOBS = "FROM afterword_jobs"
_SLOW = (
    "It is safe, but writers and readers wait for each other. It is faster with a Python that has"
    " SQLite 3.51.3 or newer; without jobs in your own transactions, so is a file of its own."
)


class Queries:
    """Answers queries of people."""

    def __init__(self, reader: Reader, clock: Clock, locks: Locks) -> None:
        self._reader = reader
        self._clock = clock
        self._locks = locks

    def get(self, ids: Sequence[str]) -> Sequence[JobRecord]:
        """The jobs with these ids."""
        return [record(row) for row in self._reader.read("get", {"ids": json.dumps(list(ids))})]

    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        """The attempts at a job, the first one first."""
        rows = self._reader.read("attempts", {"id": job_id})
        found = self.get([job_id])
        return attempts_of(found[0], rows) if found else []

    def logs(self, job_id: str) -> Mapping[int, str]:
        """The logs of the attempts at a job, by their numbers."""
        return dict(self._reader.read("logs", {"id": job_id}))

    def with_key(self, unique_key: str, *, ended: bool) -> JobRecord | None:
        """The job that has this unique key."""
        rows = self._reader.read("with_key", {"key": unique_key, "ended": int(ended)})
        if not rows and ended:
            rows = self._reader.read("ended_with_key", {"key": unique_key})
        found = self.get([row[0] for row in rows])
        return found[0] if found else None

    def find(
        self, wanted: Filter = EVERYTHING, limit: int = 100, before: str | None = None
    ) -> Sequence[JobRecord]:
        """A page of jobs, newest first."""
        pages = " UNION ALL ".join(_parts("find", wanted, wanted.state))
        values = {**_values(wanted), "limit": limit, "before": before or _LAST_ID}
        text = f"{pages} ORDER BY id DESC LIMIT :limit"
        return [record(row) for row in self._reader.read_text(text, values)]

    def window(
        self, many: int, before: str | None = None, state: JobState | None = None
    ) -> str | None:
        """Look in both tables; the higher id bounds what is read of each."""
        ids = " UNION ALL ".join(_parts("window", EVERYTHING, state))
        values = {"before": before or _LAST_ID, "many": many}
        rows = self._reader.read_text(f"{ids} ORDER BY id DESC LIMIT 1", values)
        return rows[0][0] if rows else None

    def count(
        self, wanted: Filter = EVERYTHING, limit: int | None = None
    ) -> Mapping[JobState, int]:
        """Count the jobs in each state: all of them at the same moment."""
        states = [wanted.state] if wanted.state else list(JobState)
        sums = ["+".join(_parts("count", wanted, state)) for state in states]
        values = {**_values(wanted), "limit": _ANY if limit is None else limit}
        (numbers,) = self._reader.read_text(f"SELECT {', '.join(sums)}", values)
        counted = dict(zip(states, numbers, strict=True))
        if limit is not None:
            counted = {state: min(number, limit) for state, number in counted.items()}
        return {**dict.fromkeys(JobState, 0), **counted}

    def failures(self, wanted: Filter = EVERYTHING, limit: int = NEWEST_FAILURES) -> Failures:
        """The newest jobs that failed, in groups."""
        text = _statement("failures_ended", wanted, _stated(JobState.FAILED))
        values = {**_values(wanted), "limit": limit, "before": _LAST_ID, "tail": TAIL}
        return grouped(self._reader.read_text(text, values), limit, self._clock.now())

    def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers on the list; `alive` says that their processes live."""
        now = self._clock.now()
        return [
            worker_record(
                (*row[:3], json.loads(row[3]), *row[4:], row[7] > now and not self._is_dead(row))
            )
            for row in self._reader.read("workers", {})
        ]

    def _is_dead(self, row: Row) -> bool:
        with self._reader.errors():
            return self._locks.is_dead(row[0])

    def queues(self, limit: int | None = None) -> Sequence[QueueRecord]:
        """The queues that have unfinished jobs."""
        values = {"now": self._clock.now(), "limit": -1 if limit is None else limit}
        rows = self._reader.read("queues", values)
        return [queue_record(row) for row in rows]

    def tasks(self, limit: int | None = None) -> Sequence[TaskRecord]:
        """The tasks that have unfinished jobs."""
        values = {"limit": _ANY if limit is None else limit}
        return [task_record(row) for row in self._reader.read("tasks", values)]

    def revision(self) -> str:
        """Number the commits of other connections, and the connection that counts them."""
        ((version,),) = self._reader.read_text("PRAGMA data_version", {})
        return f"{self._reader.number:x}-{version}"

    def audit(self, limit: int = 100, before: str | None = None) -> Sequence[AuditRecord]:
        """A page of the audit, newest first."""
        values = {"limit": limit, "before": before or _LAST_ID}
        return [audit_record(row) for row in self._reader.read("audit", values)]

    def examine(self) -> Sequence[Remark]:
        """Report on the file, as the library sees it."""
        ((version, journal, schema),) = self._reader.read_text(
            "SELECT sqlite_version(), journal_mode, (SELECT max(version) FROM afterword_migrations)"
            " FROM pragma_journal_mode",
            {},
        )
        slow = journal != "wal"
        found = f"SQLite {version}, journal {journal}"
        return [
            Remark("sqlite", found, _SLOW if slow else "", serious=not self._reader.shares),
            Remark("schema", f"version {schema}"),
        ]


def record(row: Row) -> JobRecord:
    """Make the record of a row; its arguments come as bytes, which may be damaged."""
    job_id, task, arguments, *rest = row
    return records.record((job_id, task, arguments.decode(errors="replace"), *rest))


def _parts(verb: str, wanted: Filter, state: JobState | None) -> list[str]:
    """Return the statements that look for jobs of a state (None: any), one for each table."""
    parts = []
    if state is None or not state.final:
        parts.append(_statement(f"{verb}_unfinished", wanted, _stated(state)))
    if state is None or state.final:
        parts.append(_statement(f"{verb}_ended", wanted, _stated(state)))
    if verb == "count" and state is JobState.FAILED:  # as `record` shows them
        parts.append(_statement("count_unfinished", wanted, "state NOT IN ('queued', 'running')"))
    return parts


def _stated(state: JobState | None) -> str:
    """Return the condition, in the words of the index to be used for it."""
    if state is None:
        return "TRUE"
    ended = state.final and state is not JobState.COMPLETED
    also = " AND state <> 'completed'" if ended else ""
    return f"state = '{state.value}'{also}"


def _statement(name: str, wanted: Filter, stated: str) -> str:
    conditions = [text for field, text in _CONDITIONS.items() if getattr(wanted, field) is not None]
    if wanted.error is not None and name.endswith("_ended"):
        conditions.append("state <> 'completed'")  # only the others have an error
    text = sql(name).replace("/* wanted */", " AND ".join([stated, *conditions]))
    if stated == _stated(JobState.RUNNING):  # few: SQLite would look for them among all the others
        return text.replace(_JOBS, f"{_JOBS} INDEXED BY afterword_jobs_running")
    return text


def _values(wanted: Filter) -> Values:
    values = {field: getattr(wanted, field) for field in _CONDITIONS}
    return {**values, "first_id": first_id_since(wanted), "last_id": last_id_until(wanted)}
