"""A store as a tenant may see it: only the jobs that have the tenant's tag.

A screen reads and changes jobs through this object only. A screen that needs another verb fails,
instead of showing the jobs of others. `why` needs the queues and the workers; it shows their rules,
and no jobs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from afterword.model.audit import Actor
from afterword.model.failures import Failures
from afterword.model.job import JobRecord, JobState
from afterword.model.records import AttemptRecord, Filter, QueueRecord, WorkerRecord
from afterword.store.protocol import NEWEST_FAILURES, Store

_EVERYTHING = Filter()


class OfTenant:
    """The jobs of one tenant.

    Args:
        store: all jobs.
        tag: the one that the tenant's jobs have.
    """

    def __init__(self, store: Store, tag: str) -> None:
        self._store = store
        self._tag = tag
        self.url = "this store"  # where it is, is not for tenants

    # ------------------------------------------------------------------ lists

    def _own(self, wanted: Filter) -> Filter:
        return replace(wanted, tenant=self._tag)

    def find(
        self, wanted: Filter = _EVERYTHING, limit: int = 100, before: str | None = None
    ) -> Sequence[JobRecord]:
        """The newest jobs of the tenant that match."""
        return self._store.find(self._own(wanted), limit, before)

    def count(
        self, wanted: Filter = _EVERYTHING, limit: int | None = None
    ) -> Mapping[JobState, int]:
        """The number of the tenant's jobs that match."""
        return self._store.count(self._own(wanted), limit)

    def failures(self, wanted: Filter = _EVERYTHING, limit: int = NEWEST_FAILURES) -> Failures:
        """The tenant's failures in groups."""
        return self._store.failures(self._own(wanted), limit)

    def window(
        self, many: int, before: str | None = None, state: JobState | None = None
    ) -> str | None:
        """The id below which a search does not look."""
        return self._store.window(many, before, state)

    # ------------------------------------------------------------------ one job

    def get(self, ids: Sequence[str]) -> Sequence[JobRecord]:
        """Those of the jobs that are the tenant's."""
        return [job for job in self._store.get(ids) if self._tag in job.tags]

    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        """The attempts at a job of the tenant."""
        return self._store.attempts(job_id) if self.get([job_id]) else []

    def logs(self, job_id: str) -> Mapping[int, str]:
        """The logs of a job of the tenant."""
        return self._store.logs(job_id) if self.get([job_id]) else {}

    # ------------------------------------------------------------------ changes

    def cancel(self, ids: Sequence[str], reason: str, by: Actor | None = None) -> Sequence[bool]:
        """Cancel jobs, unless a job that is not the tenant's would end with them."""
        return self._store.cancel(ids, reason, by, tenant=self._tag)

    def retry(self, ids: Sequence[str], by: Actor | None = None) -> Sequence[bool]:
        """Retry jobs, unless a job that is not the tenant's would come back with them."""
        return self._store.retry(ids, by, tenant=self._tag)

    def delete(self, ids: Sequence[str], by: Actor | None = None) -> Sequence[bool]:
        """Delete jobs, unless a job that is not the tenant's would move up."""
        return self._store.delete(ids, by, tenant=self._tag)

    # ------------------------------------------------------------------ what holds for all

    def revision(self) -> str:
        """A text that changes with the store."""
        return self._store.revision()

    def ruled(self) -> Sequence[str]:
        """The queues with a rule."""
        return self._store.ruled()

    def queues(self, limit: int | None = None) -> Sequence[QueueRecord]:
        """The rules of queues; their jobs are not counted."""
        hidden = {"due": 0, "scheduled": 0, "waiting": 0, "oldest_at": None}
        return [replace(each, **hidden) for each in self._store.queues(limit)]  # type: ignore[arg-type]

    def workers(self) -> Sequence[WorkerRecord]:
        """The workers, which tenants share."""
        return self._store.workers()
