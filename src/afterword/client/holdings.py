"""What this process holds, and the jobs that it has lost track of.

The store says which jobs this worker runs or holds. Only a `Claim` can end one of them, and a claim
is an object of this process: in a request, in the worker's queue of claims, in a running attempt,
or in an operation on its way to the store. A job of ours without such an object would stay
"running" for as long as the process lives. It is treated as if its worker had been lost: queued
again, and failed the third time.

That heals mistakes that nobody has thought of, and requests whose event loop ended before they got
their answer.
"""

from collections.abc import Callable

from afterword import telemetry
from afterword.client.group_commit import GroupCommit
from afterword.client.leases import Leases
from afterword.client.operation import ids_being_added
from afterword.store.protocol import Store, claimed_ids

LOOKS = 3  # per lease
BATCH = 2_000  # jobs per look


def start(group: GroupCommit, leases: Leases) -> None:
    """Begin to look for jobs that this process has lost track of."""
    group.every(leases.seconds / LOOKS, recovering(leases))


def recovering(leases: Leases) -> Callable[[Store], None]:
    """The step that takes them."""

    def recover(store: Store) -> None:
        if not leases.valid:
            return  # whatever it held is somebody else's soon
        # Asked before the store is: this thread alone claims and adds, so nothing comes in between.
        known = claimed_ids(leases.worker) | ids_being_added(leases.worker)
        for job in store.recover(BATCH, leases.seconds, leases.worker, sorted(known)):
            telemetry.forgotten(job.id, job.task, job.attempt, job.state)

    return recover
