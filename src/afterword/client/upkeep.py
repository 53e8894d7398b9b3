"""Maintenance of the store: recover jobs of lost workers, purge history, free followers, count.

Each process does it in small batches, from the store's thread. There is no leader, and no user code
is needed. A follower is freed if the job that it waits for does not exist.
"""

from collections.abc import Callable

from afterword import telemetry
from afterword.client.failures import OnFailed, report_failed
from afterword.client.group_commit import GroupCommit
from afterword.store.protocol import Store

RECOVER_EVERY = 1.0  # seconds
PURGE_EVERY = 1.0
FREE_EVERY = 1.0
COUNT_EVERY = 10.0
BATCH = 2_000  # jobs per step, so that a step does not hold the store's thread for long
MINUTES = 5  # per step; after a pause it takes several steps to catch up
LOOK_AT = 500  # jobs that others wait for, per step; each costs 10 µs


def start(group: GroupCommit, *, lease: float, retention: float, on_failed: OnFailed) -> None:
    """Start the four steps: count, recover, purge, free.

    Args:
        on_failed: called when a job has failed because its workers were lost.
    """
    # Not at the start: it writes, and may meet the first transactions of users in the same file.
    group.every(COUNT_EVERY, count, after=COUNT_EVERY)
    group.every(RECOVER_EVERY, recovering(lease, on_failed))
    group.every(PURGE_EVERY, purging(retention))
    group.every(FREE_EVERY, free)


def recovering(lease: float, on_failed: OnFailed) -> Callable[[Store], None]:
    """The step that recovers the jobs of lost workers."""

    def recover(store: Store) -> None:
        jobs = store.recover(BATCH, lease)
        for job in jobs:
            telemetry.recovered(job.id, job.task, job.attempt, job.lost, job.state)
        report_failed(jobs, on_failed)

    return recover


def purging(retention: float) -> Callable[[Store], None]:
    """The step that deletes jobs which finished more than `retention` seconds ago."""

    def purge(store: Store) -> None:
        store.purge(retention, BATCH)

    return purge


def free(store: Store) -> None:
    """Free the jobs that wait for a job which does not exist."""
    if missing := store.free_followers(LOOK_AT):
        telemetry.freed(missing)


def count(store: Store) -> None:
    """Count the jobs that ended in minutes that are over."""
    store.roll_up(MINUTES)
