"""Changes that people make to jobs, from any thread; each is fenced by the state it starts from."""

import json
from collections.abc import Mapping, Sequence

from afterword.model.audit import Actor
from afterword.model.clock import Clock
from afterword.model.job import JobRecord
from afterword.store.auditing import audit_row, limits_in_words
from afterword.store.columns import COLUMNS
from afterword.store.locks import Locks
from afterword.store.noting import NOTED_WITHIN, wait_noted
from afterword.store.parts import Values, first_of_each
from afterword.store.protocol import STOPPED
from afterword.store.records import maybe_timestamp
from afterword.store.sqlite.reader import Reader
from afterword.store.sqlite.settling import Settling
from afterword.store.sqlite.writer import Writer


class Actions:
    """Changes jobs and queues for people."""

    def __init__(
        self, writer: Writer, reader: Reader, clock: Clock, locks: Locks, settling: Settling
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._locks = locks
        self._settling = settling

    def cancel(
        self,
        ids: Sequence[str],
        reason: str,
        by: Actor | None = None,
        tenant: str | None = None,
    ) -> Sequence[bool]:
        """End queued jobs, and those that stop with them; ask for the end of running ones."""
        with self._writer.transaction():
            wanted = self._wanted(ids, tenant)
            done = [job_id in wanted and self._cancel(job_id, reason) for job_id in ids]
            note_action(self._writer, self._clock, "cancel", ids, sum(done), by)
        return done

    def _wanted(
        self, ids: Sequence[str], tenant: str | None, stopped: str | None = None
    ) -> set[str]:
        """Return those of these jobs that the tenant may change; None: anyone's."""
        possible = list(filter(_is_possible, ids))
        if tenant is None:
            return set(possible)
        values = {"ids": json.dumps(possible), "tenant": tenant, "stopped": stopped}
        return {row[0] for row in self._writer.write("of_tenant", values)}

    def _cancel(self, job_id: str, reason: str) -> bool:
        ended = self._settling.cancel_queued(job_id, reason)
        return ended or bool(self._writer.write("ask", {"id": job_id, "reason": reason}))

    def retry(
        self, ids: Sequence[str], by: Actor | None = None, tenant: str | None = None
    ) -> Sequence[bool]:
        """Move jobs back from the history, the oldest first; its followers come with it."""
        back: set[str] = set()
        with self._writer.transaction():
            for job_id in sorted(self._wanted(ids, tenant, STOPPED)):
                if job_id not in back:
                    back.update(self._retry(job_id))
            if back:
                self._writer.claimable()
            done = first_of_each(ids, back)
            note_action(self._writer, self._clock, "retry", ids, sum(done), by)
        return done

    def _retry(self, job_id: str) -> Sequence[str]:
        values = {"id": job_id, "stopped": STOPPED, "now": self._clock.now()}
        if not self._writer.write("ended", values):
            return []
        back = [row[0] for row in self._writer.write("retry", values)]
        self._writer.write("attempt_ended", {"ids": json.dumps(back)})
        self._writer.write("forget", {"ids": json.dumps(back)})
        return back

    def delete(
        self, ids: Sequence[str], by: Actor | None = None, tenant: str | None = None
    ) -> Sequence[bool]:
        """Delete queued and ended jobs."""
        with self._writer.transaction():
            wanted = self._wanted(ids, tenant)
            done = [job_id in wanted and self._delete(job_id) for job_id in ids]
            note_action(self._writer, self._clock, "delete", ids, sum(done), by)
        return done

    def pause(
        self, queues: Sequence[str], by: Actor | None = None, within: float = NOTED_WITHIN
    ) -> bool:
        """Stop workers from starting jobs of these queues; returns when all have noted it."""
        with self._writer.transaction():
            self._pause(queues, paused=True)
            note_action(self._writer, self._clock, "pause", queues, len(queues), by)
            ((version,),) = self._writer.write("change_rules", {})
        return self._wait_noted(version, within)

    def resume(self, queues: Sequence[str], by: Actor | None = None) -> None:
        """Let the workers start jobs of these queues again."""
        with self._writer.transaction():
            self._pause(queues, paused=False)
            note_action(self._writer, self._clock, "resume", queues, len(queues), by)
            self._writer.claimable()

    def _pause(self, queues: Sequence[str], *, paused: bool) -> None:
        with self._writer.transaction():
            self._writer.write_many(
                "pause_queue", ({"name": name, "paused": paused} for name in queues)
            )

    def ruled(self) -> Sequence[str]:
        """The queues that are paused or limited."""
        rules = self._reader.read("queue_rules", {})
        return [name for name, paused, concurrency in rules if paused or concurrency is not None]

    def limit(
        self,
        queues: Mapping[str, int | None],
        by: Actor | None = None,
        within: float = NOTED_WITHIN,
    ) -> bool:
        """Limit the jobs of these queues that run at a time; returns when all have noted it."""
        limits = ({"name": name, "concurrency": number} for name, number in queues.items())
        with self._writer.transaction():
            if not self._writer.write_many("limit_queue", limits):
                return True
            note_action(
                self._writer, self._clock, "limit", limits_in_words(queues), len(queues), by
            )
            ((version,),) = self._writer.write("change_rules", {})
            self._writer.claimable()
        return self._wait_noted(version, within)

    def wait_noted(self, timeout: float) -> bool:
        """Wait until all workers have noted the rules."""
        ((version, _, _),) = self._reader.read("rules", {"worker": ""})
        return self._wait_noted(version, timeout)

    def _wait_noted(self, version: int, timeout: float) -> bool:
        inside = self._writer.serves_this_thread  # no worker sees a change before it is committed
        return not inside and wait_noted(lambda: self._unaware(version), timeout)

    def _unaware(self, version: int) -> Sequence[str]:
        rows = self._reader.read("unaware", {"version": version, "now": self._clock.now()})
        with self._writer.errors():
            return [worker for (worker,) in rows if not self._locks.is_dead(worker)]

    def note(self, action: str, targets: Sequence[str], count: int, by: Actor) -> None:
        """Write an action into the audit."""
        with self._writer.transaction():
            note_action(self._writer, self._clock, action, targets, count, by)

    def _delete(self, job_id: str) -> bool:
        self._writer.write("free_slot", {"id": job_id, "now": self._clock.now()})
        rows = self._writer.write("delete", {"id": job_id})
        for (after,) in rows:
            if self._writer.write("move_up", {"id": job_id, "after": after}):
                self._writer.claimable()
        ids = {"ids": json.dumps([job_id])}
        deleted = bool(rows or self._writer.write("forget", ids))
        if deleted:
            self._writer.write("forget_attempts", ids)
            self._writer.write("forget_logs", ids)
        return deleted

    def restore(self, records: Sequence[JobRecord]) -> Sequence[bool]:
        """Add jobs as another store knew them; unfinished ones are queued."""
        unfinished = [restored_row(each) for each in records if not each.state.final]
        ended = [restored_row(each) for each in records if each.state.final]
        with self._writer.transaction():
            queued = self._writer.write_many("restore", unfinished)
            kept = self._writer.write_many("restore_ended", ended)
            self._writer.write("settle_in", {"ids": json.dumps([row[0] for row in queued])})
            if queued:
                self._writer.claimable()
        return first_of_each([each.id for each in records], {row[0] for row in (*queued, *kept)})


def note_action(
    writer: Writer,
    clock: Clock,
    action: str,
    targets: Sequence[str],
    count: int,
    by: Actor | None,
) -> None:
    """Write an action into the audit, unless it has no actor or has changed nothing."""
    if by is not None and count:
        row = audit_row(action, targets, count, by)
        writer.write("note_action", {**row, "now": clock.now()})


def _is_possible(job_id: str) -> bool:
    """Return True if the driver can write it at all: half a surrogate is no job's id."""
    return job_id.isascii()


def restored_row(found: JobRecord) -> Values:
    """The values of restore.sql and restore_ended.sql."""
    fields = {name: getattr(found, name) for name in COLUMNS}
    return {
        **fields,
        "tags": json.dumps(found.tags) if found.tags else None,
        "state": found.state.value,
        "created_at": found.created_at.timestamp(),
        "run_at": found.run_at.timestamp(),
        "started_at": maybe_timestamp(found.started_at),
        "finished_at": maybe_timestamp(found.finished_at),
    }
