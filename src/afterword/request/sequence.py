"""The order of jobs that are added one after the other in transactions of the user.

Only their ids are kept in memory. Which of the jobs exist, and which job has a unique key, is read
from the database in the same transaction. So a job that was rolled back, with its transaction or
with a savepoint, has no effect on the next ones, even if there is no event for the rollback.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from afterword import telemetry
from afterword.client.call import Call, Draft, draft
from afterword.client.handle import Job
from afterword.model.job import NewJob
from afterword.transactions.connections import AsyncUserConnection, Row, UserConnection
from afterword.transactions.statements import Steps

if TYPE_CHECKING:
    from afterword.request.intake import Intake
    from afterword.request.outbox import Outbox

KNOWN = 100  # jobs; if a savepoint rolls back more, the next job has no predecessor

Connection = UserConnection | AsyncUserConnection


@dataclass(frozen=True, slots=True)
class Added:
    """One call, from `add_task` until its job is written."""

    drafted: Draft
    handle: Job[Any]


@dataclass(frozen=True, slots=True)
class _Written:
    id: str
    task: str
    connection: Connection | None
    own: bool  # False: an existing job, which has the unique key

    def is_undecided_for(self, other: Connection) -> bool:
        """True while its transaction is open, so that the other connection cannot see the job."""
        mine = self.connection
        return mine is not None and mine.source is not other.source and mine.in_transaction


class JobSequence:
    """The jobs of one request, or of one connection outside of a request.

    Args:
        intake: of the application.
        outbox: of the request to which the jobs belong, if any.
    """

    def __init__(self, intake: "Intake", outbox: "Outbox | None" = None) -> None:
        self._intake, self._outbox = intake, outbox
        self._written: list[_Written] = []
        self._first: str | None = None

    @property
    def announced(self) -> bool:
        """True if the end of the request notifies the workers anyway."""
        return self._outbox is not None and not self._outbox.over

    @property
    def ids(self) -> list[str]:
        """The ids of the latest written jobs; some may have been rolled back since."""
        return [each.id for each in self._written]

    def forget_connections(self) -> None:
        """Drop the references to the user's connections at the end of the request."""
        self._written = [replace(each, connection=None) for each in self._written]

    def note_not_committed(self, jobs: int) -> None:
        """Report jobs whose session was closed without a commit, unless their request fails."""
        if self._outbox is None or self._outbox.over:
            telemetry.not_committed(jobs)
        else:
            self._outbox.not_committed += jobs

    def add(self, call: Call) -> Added:
        """Prepare a call for `writing`; the sequence does not change yet."""
        drafted = draft(call, self._intake.injection)
        handle = Job[Any](drafted["id"], drafted["task"], inquiries=self._intake.inquiries)
        return Added(drafted, handle)

    def writing(self, added: Added, connection: Connection) -> Steps[None]:
        """The statements that write a call; they also update its handle."""
        yield from self._intake.transactions.verifying(connection, to_write=True)
        store = self._intake.group.store
        asked = self.ids
        rows = (yield store.known(asked)) if asked else []
        unfinished = self._keep_existing(asked, rows, connection)
        job = self._job(added, unfinished)
        other = yield from self._other(job)
        if other is None:
            yield from self._intake.transactions.adding([job], announced=self.announced)
            other = yield from self._other(job)  # another transaction may have added it first
        job_id, conflict = (job.id, False) if other is None else other
        added.handle.note_stored(job_id, conflict=conflict)
        written = _Written(job_id, job.task, connection, own=other is None)
        self._written = [*self._written, written][-KNOWN:]

    def _keep_existing(
        self, asked: Sequence[str], rows: Sequence[Row], connection: Connection
    ) -> set[str]:
        """Forget jobs that were rolled back, and return the ids of the unfinished ones."""
        ended = {str(job_id): bool(is_ended) for job_id, is_ended in rows}
        self._written = [
            each
            for each in self._written
            if each.id in ended or each.id not in asked or each.is_undecided_for(connection)
        ]
        return {job_id for job_id, is_ended in ended.items() if not is_ended}

    def _job(self, added: Added, unfinished: set[str]) -> NewJob:
        """The job of a call, with the last existing unfinished job as its predecessor."""
        task, job_id, rules = added.drafted["task"], added.handle.id, self._intake.rules
        drafted = added.drafted
        if self._outbox is not None:
            number = 1 + sum(1 for each in self._written if each.task == task)
            drafted = self._outbox.keyed_in_transaction(drafted, number)
        there = [each for each in self._written if each.id in unfinished]
        before = [each.id for each in there if each.own] or [each.id for each in there]
        self._first = self._first or job_id
        request_id = self._outbox.request_id_of(job_id) if self._outbox else self._first
        return NewJob(
            **drafted,
            after=before[-1] if before and rules.order == "sequential" else None,
            on_failure=rules.on_failure,
            request_id=request_id,
        )

    def _other(self, job: NewJob) -> Steps[tuple[str, bool] | None]:
        """The id of another job with the same unique key; True with it if the call is another."""
        if job.unique_key is None:
            return None
        rows = yield self._intake.group.store.keyed(job.unique_key)
        for job_id, ended, task, arguments in rows:
            if str(job_id) != job.id and (job.unique_ended or not ended):
                if not ended:
                    yield self._intake.group.store.sharing(str(job_id), job)
                return str(job_id), (task, arguments) != (job.task, job.arguments)
        return None
