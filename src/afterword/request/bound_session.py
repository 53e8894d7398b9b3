"""Jobs that are added to SQLAlchemy sessions, from `add_task` to the commit or the rollback.

A Session writes a job at once. An AsyncSession cannot, because `add_task` is not awaited. Its jobs
are collected, and written in `before_commit`, which can wait.

    add_task ──▶ collected ──▶ before_commit ──▶ written ──▶ after_commit: workers are notified
                     │                              │
                     └── rolled back: forgotten     └── the savepoint in which it was written is
                         (a savepoint, too)             rolled back, but not the one in which it
                                                        was added: collected again

The release of a savepoint fires `before_commit` as well. If a transaction is committed while a
savepoint is still open, the transaction's `before_commit` comes first. So every `before_commit`
writes all collected jobs, and each job records where it was added and where it was written.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from afterword.client.call import Call
from afterword.client.handle import Job
from afterword.request.sequence import Added, JobSequence
from afterword.transactions.connections.sqlalchemy import SQLAlchemyConnection
from afterword.transactions.statements import Transactions, perform


@dataclass(slots=True, eq=False)
class _Added:
    """A call that was added in the present transaction or in a savepoint of it."""

    call: Added
    sequence: JobSequence
    added_in: SessionTransaction
    written_in: SessionTransaction | None = None


class SessionJobs:
    """The jobs of one session. It refers to the session only during a transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._added: list[_Added] = []
        self._rolled_back = False
        self._committed = False

    @classmethod
    def of(cls, session: Session, transactions: Transactions) -> "SessionJobs":
        """The instance for this session; the same one each time the session is bound."""
        known = session.info.get(transactions)
        if known is None:
            known = session.info[transactions] = cls(transactions)
            known._listen(session)
        return cast(SessionJobs, known)

    def _listen(self, session: Session) -> None:
        event.listen(session, "before_commit", self._before_commit)
        event.listen(session, "after_commit", self._after_commit)
        event.listen(session, "after_rollback", self._after_rollback)
        event.listen(session, "after_soft_rollback", self._after_soft_rollback)
        event.listen(session, "after_transaction_end", self._after_transaction_end)

    def add(
        self, session: Session, sequence: JobSequence, call: Call, *, at_once: bool
    ) -> Job[Any]:
        """Add a call to the session's transaction; write it now if `at_once`."""
        added = sequence.add(call)
        if not session.in_transaction():
            session.begin()  # as session.add() does
        each = _Added(added, sequence, _innermost(session))
        if at_once:
            self._write(session, [each])
        self._added.append(each)
        return added.handle

    def _write(self, session: Session, unwritten: list[_Added]) -> None:
        connection = SQLAlchemyConnection(session)
        for each in unwritten:
            perform(each.sequence.writing(each.call, connection), connection)
            each.written_in = _innermost(session)

    @property
    def _unwritten(self) -> list[_Added]:
        return [each for each in self._added if each.written_in is None]

    # ------------------------------------------------------------------ events of the session

    def _before_commit(self, session: Session) -> None:
        if unwritten := self._unwritten:
            self._write(session, unwritten)

    def _after_commit(self, session: Session) -> None:
        if session.in_nested_transaction():
            return
        self._committed = True
        if self._added:
            self._transactions.announce()

    def _after_rollback(self, session: Session) -> None:
        self._rolled_back = True

    def _after_soft_rollback(self, session: Session, ended: SessionTransaction) -> None:
        """Forget the jobs added in the ended transaction; collect those written in it again."""
        kept = [each for each in self._added if not _is_within(each.added_in, ended)]
        for each in kept:
            if each.written_in and _is_within(each.written_in, ended):
                each.written_in = None
        self._added = kept

    def _after_transaction_end(self, session: Session, ended: SessionTransaction) -> None:
        if ended.parent is None:
            if self._unwritten and not self._rolled_back:
                for sequence, jobs in Counter(each.sequence for each in self._unwritten).items():
                    sequence.note_not_committed(jobs)
            self._added, self._committed = [], False
        if ended.parent is None or ended.nested:
            self._rolled_back = False


def _innermost(session: Session) -> SessionTransaction:
    current = session.get_nested_transaction() or session.get_transaction()
    return cast(SessionTransaction, current)  # there is one: it has just been begun or used


def _is_within(transaction: SessionTransaction, outer: SessionTransaction) -> bool:
    each: SessionTransaction | None = transaction
    while each is not None and each is not outer:
        each = each.parent
    return each is outer
