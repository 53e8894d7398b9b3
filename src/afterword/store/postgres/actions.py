"""Changes that people make to jobs, from any thread; each is fenced by the state it starts from."""

from collections.abc import Mapping, Sequence

from afterword.model.audit import Actor
from afterword.model.job import JobRecord
from afterword.store.auditing import audit_row, limits_in_words
from afterword.store.locks import Locks
from afterword.store.noting import NOTED_WITHIN, wait_noted
from afterword.store.parts import first_of_each
from afterword.store.postgres.people import PeopleConnection, repeated
from afterword.store.postgres.rows import restored_rows, uuids
from afterword.store.postgres.session import Session
from afterword.store.postgres.settling import cancel_queued, hold_place
from afterword.store.protocol import STOPPED


class Actions:
    """Changes jobs and queues for people."""

    def __init__(self, people: PeopleConnection, locks: Locks) -> None:
        self._people = people
        self._locks = locks

    @repeated
    def cancel(
        self,
        ids: Sequence[str],
        reason: str,
        by: Actor | None = None,
        tenant: str | None = None,
    ) -> Sequence[bool]:
        """End queued jobs, and those that stop with them; ask for the end of running ones."""
        wanted = uuids(ids)
        with self._people.acting() as session:
            hold_place(session, wanted, ["queued", "running"])
            wanted = _of_tenant(session, wanted, tenant)  # now no others can be added behind them
            cancelled, free = cancel_queued(session, dict.fromkeys(wanted, reason))
            asked = {row[0] for row in session.execute("ask", {"ids": wanted, "reason": reason})}
            if free:
                self._people.claimable(session)
            first = first_of_each(ids, cancelled)
            done = [ended or job_id in asked for job_id, ended in zip(ids, first, strict=True)]
            note_action(session, "cancel", ids, sum(done), by)
        return done

    @repeated
    def retry(
        self, ids: Sequence[str], by: Actor | None = None, tenant: str | None = None
    ) -> Sequence[bool]:
        """Move jobs back from the history, and those that were cancelled because of them."""
        wanted = uuids(ids)
        with self._people.acting() as session:
            rows = session.execute("again", {"ids": wanted, "stopped": STOPPED})
            if tenant is not None:  # now they are locked, with all that come back with them
                wanted = _of_tenant(session, wanted, tenant, STOPPED)
                rows = session.execute("again", {"ids": wanted, "stopped": STOPPED})
            again: dict[str, str | None] = dict(rows)
            if again:
                _retry(session, list(again), wanted)
                _settle_in(session, again)
                self._people.claimable(session)
            done = first_of_each(ids, set(again))
            note_action(session, "retry", ids, sum(done), by)
        return done

    @repeated
    def delete(
        self, ids: Sequence[str], by: Actor | None = None, tenant: str | None = None
    ) -> Sequence[bool]:
        """Delete queued and ended jobs."""
        wanted = uuids(ids)
        with self._people.acting() as session:
            wanted = _of_tenant(session, wanted, tenant)
            deleted = {row[0] for row in session.execute("delete_ended", {"ids": wanted})}
            hold_place(session, wanted, ["queued"])
            for job_id in _of_tenant(session, wanted, tenant):
                if session.execute("delete_queued", {"id": job_id}):
                    deleted.add(job_id)
                    self._people.claimable(session)
            if deleted:
                session.execute("forget_attempts", {"ids": sorted(deleted)})
            done = first_of_each(ids, deleted)
            note_action(session, "delete", ids, sum(done), by)
        return done

    @repeated
    def pause(
        self, queues: Sequence[str], by: Actor | None = None, within: float = NOTED_WITHIN
    ) -> bool:
        """Stop workers from starting jobs of these queues; returns when all have noted it."""
        with self._people.acting() as session:
            session.execute("pause_queues", {"names": list(queues), "paused": True})
            note_action(session, "pause", queues, len(queues), by)
            ((version,),) = session.execute("change_rules")
        return self._wait_noted(version, within)

    @repeated
    def resume(self, queues: Sequence[str], by: Actor | None = None) -> None:
        """Let the workers start jobs of these queues again."""
        with self._people.acting() as session:
            session.execute("pause_queues", {"names": list(queues), "paused": False})
            note_action(session, "resume", queues, len(queues), by)
            self._people.claimable(session)

    @repeated
    def ruled(self) -> Sequence[str]:
        """The queues that are paused or limited."""
        with self._people.looking() as session:
            return [name for (name,) in session.execute("ruled")]

    @repeated
    def limit(
        self,
        queues: Mapping[str, int | None],
        by: Actor | None = None,
        within: float = NOTED_WITHIN,
    ) -> bool:
        """Limit the jobs of these queues that run at a time; returns when all have noted it."""
        values = {"names": list(queues), "concurrencies": list(queues.values())}
        with self._people.acting() as session:
            if not session.execute("limit_queues", values):
                return True
            note_action(session, "limit", limits_in_words(queues), len(queues), by)
            ((version,),) = session.execute("change_rules")
            self._people.claimable(session)
        return self._wait_noted(version, within)

    @repeated
    def note(self, action: str, targets: Sequence[str], count: int, by: Actor) -> None:
        """Write an action into the audit."""
        with self._people.acting() as session:
            note_action(session, action, targets, count, by)

    def wait_noted(self, timeout: float) -> bool:
        """Wait until all workers have noted the rules."""
        with self._people.looking() as session:
            ((version, _, _),) = session.execute("rules", {"worker": ""})
        return self._wait_noted(version, timeout)

    def _wait_noted(self, version: int, timeout: float) -> bool:
        inside = self._people.serves_writer  # no worker sees a change before it is committed
        return not inside and wait_noted(lambda: self._unaware(version), timeout)

    @repeated
    def _unaware(self, version: int) -> Sequence[str]:
        with self._people.looking() as session:
            rows = session.execute("unaware", {"version": version})
        return [worker for (worker,) in rows if not self._locks.is_dead(worker)]

    @repeated
    def restore(self, records: Sequence[JobRecord]) -> Sequence[bool]:
        """Add jobs as another store knew them; unfinished ones are queued."""
        unfinished = [each for each in records if not each.state.final]
        ended = [each for each in records if each.state.final]
        with self._people.acting() as session:
            queued = _restore_unfinished(session, unfinished)
            kept = session.execute("restore_ended", restored_rows(ended))
            _settle_in(session, {each.id: each.after for each in unfinished if each.id in queued})
            if queued:
                self._people.claimable(session)
        restored = {*queued, *(row[0] for row in kept)}
        return first_of_each([each.id for each in records], restored)


def note_action(
    session: Session, action: str, targets: Sequence[str], count: int, by: Actor | None
) -> None:
    """Write an action into the audit, unless it has no actor or has changed nothing."""
    if by is not None and count:
        session.execute("note_action", audit_row(action, targets, count, by))


def _of_tenant(
    session: Session, ids: Sequence[str], tenant: str | None, stopped: str | None = None
) -> list[str]:
    """Return those of these jobs that the tenant may change; None: anyone's."""
    if tenant is None:
        return list(ids)
    values = {"ids": ids, "tenant": tenant, "stopped": stopped}
    return [row[0] for row in session.execute("of_tenant", values)]


def _retry(session: Session, ids: Sequence[str], wanted: Sequence[str]) -> None:
    values = {"ids": ids, "wanted": wanted, "keyed": True}
    back = {row[0] for row in session.execute("retry", values)}
    if left := [job_id for job_id in ids if job_id not in back]:
        # A later job has their unique key by now: these go on without it.
        session.execute("retry", {**values, "ids": left, "keyed": False})
    session.execute("attempt_ended", {"ids": ids})
    session.execute("delete_ended", {"ids": ids})


def _settle_in(session: Session, jobs: Mapping[str, str | None]) -> None:
    """Let jobs that are back wait for their predecessors, if these are there and have not ended."""
    followers = {job_id: after for job_id, after in jobs.items() if after is not None}
    if followers:
        session.execute("hold_predecessors", {"ids": list(followers.values())})
        unchanged = [None] * len(followers)
        values = {"afters": unchanged, "otherwise": unchanged}
        session.execute("unblock", {"ids": list(followers), **values})


def _restore_unfinished(session: Session, records: Sequence[JobRecord]) -> set[str]:
    values = {**restored_rows(records), "keyed": True}
    queued = {row[0] for row in session.execute("restore_unfinished", values)}
    if left := [each for each in records if each.unique_key and each.id not in queued]:
        # Some that have been added meanwhile keep their unique key: these go on without it.
        rows = session.execute("restore_unfinished", {**restored_rows(left), "keyed": False})
        queued |= {row[0] for row in rows}
    return queued
