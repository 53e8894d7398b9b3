"""Recovery of jobs that this process holds in the store but has lost track of.

The store lists the jobs that this worker runs or holds. Only a `Claim` can end such a job, and a
claim is an object in this process: in a request, in the worker's queue of claims, in a running
attempt, or in an operation on its way to the store. A job without such an object would stay
"running" for as long as the process lives. It is treated as if its worker had been lost: queued
again, and failed the third time.

This covers bugs, and requests whose event loop ended before the store's answer came.
"""

from collections.abc import Callable

from afterword import telemetry
from afterword.client.failures import OnFailed, report_failed
from afterword.client.group_commit import GroupCommit
from afterword.client.leases import Leases
from afterword.client.operation import ids_being_added
from afterword.store.protocol import Store, claimed_ids

LOOKS = 3  # at the store per lease
BATCH = 2_000  # jobs per look


def start(group: GroupCommit, leases: Leases, on_failed: OnFailed) -> None:
    """Begin to look for jobs that this process has lost track of."""
    group.every(leases.seconds / LOOKS, recovering(leases, on_failed))


def recovering(leases: Leases, on_failed: OnFailed) -> Callable[[Store], None]:
    """The step that recovers the jobs without a claim."""

    def recover(store: Store) -> None:
        if not leases.valid:
            return  # other processes recover the jobs of a lost worker
        # Read before the store: only this thread claims and adds, so nothing changes in between.
        known = claimed_ids(leases.worker) | ids_being_added(leases.worker)
        jobs = store.recover(BATCH, leases.seconds, leases.worker, sorted(known))
        for job in jobs:
            if job.worker == leases.worker:
                telemetry.forgotten(job.id, job.task, job.attempt, job.state)
            else:  # of a worker that died; this look came before that of `upkeep`
                telemetry.recovered(job.id, job.task, job.attempt, job.lost, job.state)
        report_failed(jobs, on_failed)

    return recover
