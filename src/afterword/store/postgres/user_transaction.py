"""The statements that the application's own connection executes, in the user's transaction."""

from collections.abc import Sequence

from afterword.model.job import JobState, NewJob
from afterword.store.postgres.rows import final_rows, log_rows, new_rows
from afterword.store.postgres.session import CHANNEL, text_of
from afterword.store.protocol import Settlement, Statement


class UserTransaction:
    """Makes the statements that the application executes in its own transaction."""

    def adding(self, jobs: Sequence[NewJob]) -> Sequence[Statement]:
        """Make the statements that add these jobs, queued."""
        added = [Statement(text_of("add"), new_rows(jobs, None))]
        followers = [job for job in jobs if job.after is not None]
        if not followers:
            return added
        keys = {job.id: job.unique_key for job in jobs}
        after_keys = [keys.get(job.after or "") for job in followers]
        ids, unchanged = [job.id for job in followers], [None] * len(followers)
        if any(after_keys):
            values = {"ids": ids, "after_keys": after_keys}
            added.append(Statement(text_of("follow_key"), values))
        moved = {"ids": ids, "afters": unchanged, "otherwise": unchanged}
        return [
            *added,
            Statement(text_of("hold_predecessors"), {"ids": [job.after for job in followers]}),
            Statement(text_of("unblock"), moved),
        ]

    def reserving(self) -> Sequence[Statement]:
        """No statement: a transaction may write after it has read."""
        return []

    def known(self, ids: Sequence[str]) -> Statement:
        """Make the statement that finds those of these jobs that exist, and if they have ended."""
        return Statement(text_of("known"), {"ids": list(ids)})

    def keyed(self, unique_key: str) -> Statement:
        """Make the statement that finds the jobs with this unique key, the unfinished one first."""
        return Statement(text_of("keyed"), {"key": unique_key})

    def sharing(self, job_id: str, job: NewJob) -> Statement:
        """Make the statement that shares an existing job instead of this one."""
        given = {"request_ids": [job.request_id], "unique_ended": [job.unique_ended]}
        return Statement(text_of("share"), {**given, "ids": [job_id]})

    def completing(self, settlement: Settlement) -> Sequence[Statement]:
        """Make the statements that settle a completed attempt."""
        final = final_rows([(settlement, JobState.COMPLETED)])
        return [
            Statement(text_of("finish"), final),
            Statement(text_of("follow"), {"ids": [settlement.claim.id]}),
            *(self.adding(settlement.children) if settlement.children else ()),
            *([Statement(text_of("keep_logs"), log_rows([settlement]))] if settlement.log else ()),
        ]

    def announcing(self) -> Sequence[Statement]:
        """Make the statement that wakes the workers when its transaction commits."""
        return [Statement(f"SELECT pg_notify('{CHANNEL}', '')", {})]

    def identifying(self) -> Statement:
        """Make the statement that returns the store's identity."""
        return Statement(text_of("identity"), {})
