"""What people do to jobs, from any thread; every step is fenced by the state it starts from."""

from collections.abc import Sequence

from afterword.job import JobRecord
from afterword.store import STOPPED
from afterword.stores.postgres.desk import Desk
from afterword.stores.postgres.rows import restored_rows, uuids
from afterword.stores.postgres.session import Session
from afterword.stores.rows import first_of_each


class Acting:
    """The part of the PostgreSQL store that people's commands change jobs with."""

    _desk: Desk
    _ready: bool

    def cancel(self, ids: Sequence[str], reason: str) -> Sequence[bool]:
        """End queued jobs, and those that stop with them."""
        with self._desk.acting() as desk:
            rows = desk.execute("cancel", {"ids": uuids(ids), "reason": reason})
            cancelled = {row[0] for row in rows}
            stopped = desk.execute("stop", {"ids": sorted(cancelled), "reason": STOPPED})
            ended = sorted(cancelled | {row[0] for row in stopped})
            self._announce_if(desk, desk.execute("follow", {"ids": ended}))
        return first_of_each(ids, cancelled)

    def retry(self, ids: Sequence[str]) -> Sequence[bool]:
        """Move jobs back from the history, and those that were cancelled because of them."""
        with self._desk.acting() as desk:
            rows = desk.execute("retry", {"ids": uuids(ids), "stopped": STOPPED})
            queued = {row[0] for row in rows}
            desk.execute("unblock", {"ids": sorted(queued)})
            self._announce_if(desk, rows)
        return first_of_each(ids, queued)

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        """Forget queued and ended jobs."""
        with self._desk.acting() as desk:
            deleted = {row[0] for row in desk.execute("delete_ended", {"ids": uuids(ids)})}
            for job_id in uuids(ids):
                if rows := desk.execute("delete_queued", {"id": job_id}):
                    deleted.add(job_id)
                    self._announce_if(desk, rows)
        return first_of_each(ids, deleted)

    def restore(self, records: Sequence[JobRecord]) -> Sequence[bool]:
        """Add jobs as another store knew them; unfinished ones are queued."""
        unfinished = [each for each in records if not each.state.final]
        ended = [each for each in records if each.state.final]
        with self._desk.acting() as desk:
            queued = desk.execute("restore_unfinished", restored_rows(unfinished))
            kept = desk.execute("restore_ended", restored_rows(ended))
            desk.execute("unblock", {"ids": [row[0] for row in queued]})
            self._announce_if(desk, queued)
        restored = {row[0] for row in (*queued, *kept)}
        return first_of_each([each.id for each in records], restored)

    def _announce_if(self, desk: Session, rows: Sequence[object]) -> None:
        """These are jobs that may be claimable now: tell the workers, once it is committed."""
        if rows:
            self._ready = desk.announcing = True
