"""The statements that the application's own connection executes, in the user's transaction."""

from collections.abc import Sequence

from afterword.clock import Clock
from afterword.job import JobState, NewJob
from afterword.store import Settlement, Statement
from afterword.stores.postgres.adding import place_behind
from afterword.stores.postgres.rows import final_rows, new_rows
from afterword.stores.postgres.session import CHANNEL, text_of


class InTheirTransaction:
    """The part of the PostgreSQL store for connections that are the user's."""

    _clock: Clock

    def adding(self, jobs: Sequence[NewJob]) -> Sequence[Statement]:
        """What adds these jobs on another connection to this database."""
        added = [Statement(text_of("add"), new_rows(jobs, None))]
        followers = [job for job in jobs if job.after is not None]
        if not followers:
            return added
        keyed = {job.id: job for job in jobs if job.unique_key is not None}
        places = [place_behind(job, keyed) for job in followers]
        befores, after_keys = [before for before, _ in places], [key for _, key in places]
        ids = [*befores, *(job.after for job in followers)]
        predecessors = {"ids": ids, "keys": [key for key in after_keys if key is not None]}
        moved = {"ids": [job.id for job in followers], "befores": befores, "after_keys": after_keys}
        return [
            *added,
            Statement(text_of("hold_predecessors"), predecessors),
            Statement(text_of("unblock"), moved),
        ]

    def known(self, ids: Sequence[str]) -> Statement:
        """What returns which of these jobs exist, and whether they have ended."""
        return Statement(text_of("known"), {"ids": list(ids)})

    def keyed(self, unique_key: str) -> Statement:
        """What returns the jobs with this unique key, the unfinished one first."""
        return Statement(text_of("keyed"), {"key": unique_key})

    def completing(self, settlement: Settlement) -> Sequence[Statement]:
        """What settles a completed attempt there."""
        final = final_rows([(settlement, JobState.COMPLETED)], self._clock.now())
        return [
            Statement(text_of("finish"), final),
            Statement(text_of("follow"), {"ids": [settlement.claim.id]}),
            *(self.adding(settlement.children) if settlement.children else ()),
        ]

    def announcing(self) -> Sequence[Statement]:
        """What tells the workers there, when its transaction commits."""
        return [Statement(f"SELECT pg_notify('{CHANNEL}', '')", {})]

    def identifying(self) -> Statement:
        """What returns this store's identity there."""
        return Statement(text_of("identity"), {})
