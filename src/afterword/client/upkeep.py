"""What keeps a store in order; every process does it, none has to.

No leader, no schedule of its own, no user code: each process takes the jobs of lost workers,
deletes old history and frees what waits for a job that is not there, in small batches, from the
store's thread.
"""

from collections.abc import Callable

from afterword import telemetry
from afterword.client.group_commit import GroupCommit
from afterword.store.protocol import Store

RECOVER_EVERY = 1.0  # seconds
PURGE_EVERY = 1.0
FREE_EVERY = 1.0
BATCH = 2_000  # jobs per step: a step must not hold the store's thread for long
LOOK_AT = 500  # jobs that others wait for, per step; a look costs 10 µs


def start(group: GroupCommit, *, lease: float, retention: float) -> None:
    """Begin to recover, to purge, and to look for jobs that wait for nothing."""
    group.every(RECOVER_EVERY, recovering(lease))
    group.every(PURGE_EVERY, purging(retention))
    group.every(FREE_EVERY, free)


def recovering(lease: float) -> Callable[[Store], None]:
    """The step that takes jobs from lost workers."""

    def recover(store: Store) -> None:
        for job in store.recover(BATCH, lease):
            telemetry.recovered(job.id, job.task, job.attempt, job.lost, job.state)

    return recover


def purging(retention: float) -> Callable[[Store], None]:
    """The step that deletes jobs which finished longer ago than `retention` seconds."""

    def purge(store: Store) -> None:
        store.purge(retention, BATCH)

    return purge


def free(store: Store) -> None:
    """The step that frees jobs which wait for one that is not there."""
    if missing := store.free_followers(LOOK_AT):
        telemetry.freed(missing)
