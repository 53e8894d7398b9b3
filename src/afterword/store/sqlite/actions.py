"""What people do to jobs, from any thread; every step is fenced by the state it starts from."""

import json
from collections.abc import Mapping, Sequence

from afterword.model.job import JobRecord
from afterword.store.locks import Locks
from afterword.store.noting import NOTED_WITHIN, wait_noted
from afterword.store.protocol import STOPPED
from afterword.store.rows import first_of_each
from afterword.store.sqlite.rows import restored_row
from afterword.store.sqlite.user_transaction import NOT_COMPLETED
from afterword.store.sqlite.writing import Writing


class Actions(Writing):
    """The part of the SQLite store that people's commands change jobs with."""

    _locks: Locks

    def cancel(self, ids: Sequence[str], reason: str) -> Sequence[bool]:
        """End queued jobs, and those that stop with them; ask for the end of running ones."""
        with self.transaction():
            return [
                _is_possible(job_id) and (self._cancel(job_id, reason) or self._ask(job_id, reason))
                for job_id in ids
            ]

    def _ask(self, job_id: str, reason: str) -> bool:
        return bool(self._database.write("ask", {"id": job_id, "reason": reason}))

    def _cancel(self, job_id: str, reason: str) -> bool:
        values = {"id": job_id, "reason": reason, "stopped": STOPPED, "now": self._clock.now()}
        if not self._database.write("cancel", values):
            return False
        self._database.write("free_slot", values)
        for statement in NOT_COMPLETED:
            self._ready = bool(self._database.write(statement, values)) or self._ready
        return True

    def retry(self, ids: Sequence[str]) -> Sequence[bool]:
        """Move jobs from the history back, the oldest first: with it come its followers."""
        back: set[str] = set()
        with self.transaction():
            for job_id in sorted(filter(_is_possible, ids)):
                if job_id not in back:
                    back.update(self._retry(job_id))
            self._ready = self._ready or bool(back)
        return first_of_each(ids, back)

    def _retry(self, job_id: str) -> Sequence[str]:
        values = {"id": job_id, "stopped": STOPPED, "now": self._clock.now()}
        if not self._database.write("ended", values):
            return []
        back = [row[0] for row in self._database.write("retry", values)]
        self._database.write("attempt_ended", {"ids": json.dumps(back)})
        self._database.write("forget", {"ids": json.dumps(back)})
        return back

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        """Forget queued and ended jobs."""
        with self.transaction():
            return [_is_possible(job_id) and self._delete(job_id) for job_id in ids]

    def pause(self, queues: Sequence[str]) -> bool:
        """Let no worker start jobs of these queues; returns when none does."""
        with self.transaction():
            self._pause(queues, paused=True)
            ((version,),) = self._database.write("change_rules", {})
        return self._wait_noted(version, NOTED_WITHIN)

    def resume(self, queues: Sequence[str]) -> None:
        """Let the workers go on with these queues."""
        with self.transaction():
            self._pause(queues, paused=False)
            self._ready = True

    def _pause(self, queues: Sequence[str], *, paused: bool) -> None:
        with self.transaction():
            self._database.write_many(
                "pause_queue", ({"name": name, "paused": paused} for name in queues)
            )

    def ruled(self) -> Sequence[str]:
        """The queues that are paused or limited."""
        rules = self._database.read("queue_rules", {})
        return [name for name, paused, concurrency in rules if paused or concurrency is not None]

    def limit(self, queues: Mapping[str, int | None]) -> bool:
        """How many jobs of these queues may run at the same time; returns when it holds."""
        limits = ({"name": name, "concurrency": number} for name, number in queues.items())
        with self.transaction():
            if not self._database.write_many("limit_queue", limits):
                return True
            ((version,),) = self._database.write("change_rules", {})
            self._ready = True
        return self._wait_noted(version, NOTED_WITHIN)

    def wait_noted(self, timeout: float) -> bool:
        """Wait until the rules hold in every process."""
        ((version, _, _),) = self._database.read("rules", {"worker": ""})
        return self._wait_noted(version, timeout)

    def _wait_noted(self, version: int, timeout: float) -> bool:
        inside = self._database.serves_this_thread  # nobody sees a change before it is committed
        return not inside and wait_noted(lambda: self._unaware(version), timeout)

    def _unaware(self, version: int) -> Sequence[str]:
        rows = self._database.read("unaware", {"version": version, "now": self._clock.now()})
        with self._database.errors():
            return [worker for (worker,) in rows if not self._locks.is_dead(worker)]

    def _delete(self, job_id: str) -> bool:
        self._database.write("free_slot", {"id": job_id, "now": self._clock.now()})
        rows = self._database.write("delete", {"id": job_id})
        for (after,) in rows:
            moved = self._database.write("move_up", {"id": job_id, "after": after})
            self._ready = self._ready or bool(moved)
        ids = {"ids": json.dumps([job_id])}
        deleted = bool(rows or self._database.write("forget", ids))
        if deleted:
            self._database.write("forget_attempts", ids)
        return deleted

    def restore(self, records: Sequence[JobRecord]) -> Sequence[bool]:
        """Add jobs as another store knew them; unfinished ones are queued."""
        unfinished = [restored_row(each) for each in records if not each.state.final]
        ended = [restored_row(each) for each in records if each.state.final]
        with self.transaction():
            queued = self._database.write_many("restore", unfinished)
            kept = self._database.write_many("restore_ended", ended)
            self._database.write("settle_in", {"ids": json.dumps([row[0] for row in queued])})
            self._ready = self._ready or bool(queued)
        return first_of_each([each.id for each in records], {row[0] for row in (*queued, *kept)})


def _is_possible(job_id: str) -> bool:
    """Whether the driver can write it at all: half a surrogate is no job's id."""
    return job_id.isascii()
