"""Transactional enqueue: jobs that exist if and only if the user's own transaction commits.

`add_task` writes the job on the user's connection at once, so that savepoints and rollbacks include
it. With an asynchronous session it is written right before the commit (`bound_session`). It is
never held: once committed, any worker may take it, even if this process ends.

The workers are notified, so that they need not wait for their next poll:

- for a session (SQLAlchemy, SQLModel), after its commit;
- for other connections in a request, at the end of the request;
- otherwise by the database at the commit, if it can (PostgreSQL's NOTIFY).
"""

from typing import Any

from afterword.client.call import AsyncTaskAdder, Call, TaskAdder
from afterword.client.handle import Job
from afterword.request.sequence import JobSequence
from afterword.transactions.connections import AsyncUserConnection, UserConnection, adapt
from afterword.transactions.statements import Transactions, perform, perform_async

Binding = TaskAdder  # adds jobs in the transaction of a session or a synchronous connection
AsyncBinding = AsyncTaskAdder  # adds jobs in the transaction of an asynchronous connection


def bind(
    transactions: Transactions, connection: Any, sequence: JobSequence
) -> Binding | AsyncBinding:
    """A task adder for the jobs of a sequence, in the connection's transaction.

    Raises:
        ConfigurationError: this kind of store or connection is not supported.
        StoreError: the store cannot be opened.
    """
    adapted = adapt(connection)
    transactions.open()
    if adapted.session is not None:
        from afterword.request.bound_session import SessionJobs

        jobs = SessionJobs.of(adapted.session, transactions)
        at_once = adapted.session is connection
        return Binding(lambda call: jobs.add(adapted.session, sequence, call, at_once=at_once))
    if adapted.awaited:
        return AsyncBinding(lambda call: _write_async(sequence, call, adapted))
    return Binding(lambda call: _write(sequence, call, adapted))


def _write(sequence: JobSequence, call: Call, connection: UserConnection) -> Job[Any]:
    added = sequence.add(call)
    perform(sequence.writing(added, connection), connection)
    return added.handle


async def _write_async(
    sequence: JobSequence, call: Call, connection: AsyncUserConnection
) -> Job[Any]:
    added = sequence.add(call)
    await perform_async(sequence.writing(added, connection), connection)
    return added.handle
