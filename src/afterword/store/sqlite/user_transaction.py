"""Statements for the application's own connection, in the user's transaction.

Of the statements that end a job, the first moves it to the history and returns a row. If it returns
none, another worker has the job, and the others must not be executed.
"""

import json
from collections.abc import Sequence

from afterword.model.clock import Clock
from afterword.model.job import NewJob
from afterword.store.parts import final_state
from afterword.store.protocol import Settlement, Statement
from afterword.store.sqlite.adding import new_row
from afterword.store.sqlite.settling import again_row, final_row, followed_by, log_row
from afterword.store.sqlite.writer import sql


class UserTransaction:
    """Makes the statements that the application executes in its own transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def adding(self, jobs: Sequence[NewJob]) -> Sequence[Statement]:
        """Make the statements that add these jobs, queued."""
        now = self._clock.now()
        keys = {job.id: job.unique_key for job in jobs}
        rows = [new_row(job, None, now, after_key=keys.get(job.after or "")) for job in jobs]
        return [Statement(_without_answer("add"), row) for row in rows]

    def reserving(self) -> Sequence[Statement]:
        """Make the statement that turns the transaction into a writing one."""
        return [Statement(sql("reserve"), {})]

    def known(self, ids: Sequence[str]) -> Statement:
        """Make the statement that finds those of these jobs that exist, and if they have ended."""
        return Statement(sql("known"), {"ids": json.dumps(list(ids))})

    def keyed(self, unique_key: str) -> Statement:
        """Make the statement that finds the jobs with this unique key, the unfinished one first."""
        return Statement(sql("keyed"), {"key": unique_key})

    def sharing(self, job_id: str, job: NewJob) -> Statement:
        """Make the statement that shares an existing job instead of this one."""
        row = {"request_id": job.request_id, "unique_ended": int(job.unique_ended)}
        return Statement(sql("share"), {**row, "other": job_id})

    def completing(self, settlement: Settlement) -> Sequence[Statement]:
        """Make the statements that settle an attempt; the first returns a row if it was ours."""
        state, now = final_state(settlement.outcome), self._clock.now()
        if state is None:
            return [Statement(sql("requeue"), again_row(settlement, now))]
        values = final_row(settlement, state, now)
        values = {**values, "ids": json.dumps([settlement.claim.id])}
        rest = [Statement(_without_answer(name), values) for name in followed_by(state)]
        if settlement.log is not None:
            rest.append(Statement(sql("keep_log"), log_row(settlement)))
        return [Statement(sql("finish"), values), *rest, *self.adding(settlement.children)]

    def announcing(self) -> Sequence[Statement]:
        """No statement: `PRAGMA data_version` tells that another connection has committed."""
        return []

    def identifying(self) -> Statement:
        """Make the statement that returns the store's identity."""
        return Statement(sql("identity"), {})


def _without_answer(statement: str) -> str:
    """Return a statement without its rows: while these are not fetched, SQLite cannot commit."""
    text = sql(statement)
    return text.rpartition("RETURNING")[0] or text
