"""The contract of `Store.cancel` for running jobs, and of `Store.cancelling`."""

from collections.abc import Callable

from afterword.model.job import JobState
from afterword.model.outcome import Cancelled, Completed, Failed, Outcome, Released, RetryAt
from afterword.store.protocol import Cancelling, Claim, Putback, Store, held_claim
from afterword.testing.kit import (
    BATCH,
    LONG,
    PAST,
    a_job,
    claim,
    claim_of,
    end,
    expect,
    ids,
    join,
    record,
    running,
    state,
)


def _asked(store: Store, **changes: object) -> Claim:
    """Run an attempt, and ask it to end."""
    attempt = running(store, **changes)  # type: ignore[arg-type]
    expect([True], list(store.cancel([attempt.id], "by bob")), "cancelled")
    return attempt


def check_cancel_asks_for_the_end_of_running_jobs(store: Store) -> None:
    """A running job that is cancelled continues; its worker is told, and no other."""
    attempt = _asked(store)
    other = running(store, "bob")
    found = record(store, attempt.id)
    expect((JobState.RUNNING, "by bob"), (found.state, found.cancelling), "job")
    expect([Cancelling(attempt.id, 1, "by bob")], list(store.cancelling("ann")), "ann is told")
    expect([], list(store.cancelling("bob")), "bob is told")
    expect(None, record(store, other.id).cancelling, "another job")


def check_the_last_who_asks_is_heard(store: Store) -> None:
    """A running job can be cancelled again; the last reason is kept."""
    attempt = _asked(store)
    expect([True, True], list(store.cancel([attempt.id, attempt.id], "by cid")), "cancelled")
    expect([Cancelling(attempt.id, 1, "by cid")], list(store.cancelling("ann")), "told")


def check_who_was_asked_decides(store: Store) -> None:
    """The outcome of a job that was asked to end is accepted, whatever it is."""
    outcomes: dict[Outcome, JobState] = {
        Completed(): JobState.COMPLETED,
        Failed("error"): JobState.FAILED,
        Cancelled("as asked"): JobState.CANCELLED,
    }
    for number, (outcome, expected) in enumerate(outcomes.items()):
        attempt = running(store, f"worker-{number}")
        store.cancel([attempt.id], "by bob")
        expect(True, end(store, attempt, outcome), f"settled as {outcome}")
        found = record(store, attempt.id)
        expect((expected, None), (found.state, found.cancelling), "job")
        expect([], list(store.cancelling(attempt.worker)), "told")


def check_what_is_to_end_is_not_queued_again(store: Store) -> None:
    """A cancelled job that would be queued again ends instead, and stops its followers."""
    ways: dict[str, Callable[[Claim], bool]] = {
        "retry": lambda attempt: end(store, attempt, RetryAt(0.0, "error")),
        "interruption": lambda attempt: end(store, attempt, Released()),
        "release": lambda attempt: store.release([Putback(attempt)])[0],
        "release-for-later": lambda attempt: store.release([Putback(attempt, LONG, "why")])[0],
    }
    for what, way in ways.items():
        attempt = running(store, what)
        follower = a_job(after=attempt.id)
        anyway = a_job(after=attempt.id, on_failure="continue")
        store.add([follower, anyway])
        store.cancel([attempt.id], "by bob")
        expect(True, way(attempt), f"accepted: {what}")
        found = record(store, attempt.id)
        told = (found.state, found.error, found.finished_at is not None)
        expect((JobState.CANCELLED, "by bob", True), told, f"job after {what}")
        expect(JobState.CANCELLED, state(store, follower.id), f"its follower after {what}")
        expect([anyway.id], ids(claim(store, what)), f"claims after {what}")


def check_what_is_to_end_is_not_recovered(store: Store) -> None:
    """A cancelled job whose worker is lost, or shuts down, has ended."""
    for retires in (False, True):
        attempt = _asked(store)
        if retires:
            store.retire("ann")
            store.renew("ann", 0.0)  # its lease has run out
        else:
            store.leave("ann")
        told = [(each.id, each.state) for each in store.recover(BATCH, LONG)]
        expect([(attempt.id, JobState.CANCELLED)], told, f"recovered, retired: {retires}")
        found = record(store, attempt.id)
        expect((JobState.CANCELLED, "by bob"), (found.state, found.error), "job")


def check_retry_of_what_was_to_end(store: Store) -> None:
    """A retry by hand withdraws an earlier request to end."""
    attempt = _asked(store)
    end(store, attempt, Cancelled("by bob"))
    store.retry([attempt.id])
    join(store, "bob")
    again = [each for each in claim(store, "bob") if each.id == attempt.id]
    expect([2], [each.attempt for each in again], "attempts")
    expect(None, record(store, attempt.id).cancelling, "cancelling")
    expect([], list(store.cancelling("bob")), "told")
    expect(True, end(store, again[0], RetryAt(0.0, "error")), "settled")
    expect(JobState.QUEUED, state(store, attempt.id), "state")


def check_a_held_job_can_be_asked_to_end(store: Store) -> None:
    """A held job that is cancelled ends when it is released."""
    join(store, "ann")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    expect([True], list(store.cancel([job.id], "by bob")), "cancelled")
    (told,) = store.cancelling("ann")
    expect((job.id, 1), (told.id, told.attempt), "told")
    attempt = held_claim(job, "ann", PAST)
    expect([True], list(store.release([Putback(attempt)])), "released")
    expect(JobState.CANCELLED, state(store, job.id), "state")


def check_asking_is_undone_with_its_transaction(store: Store) -> None:
    """A request to end in a transaction that failed is not passed on."""
    job = a_job()
    join(store, "ann")
    store.add([job])
    claim_of(store, job)
    try:
        with store.transaction():
            store.cancel([job.id], "no")
            raise _Broken
    except _Broken:
        pass
    expect([], list(store.cancelling("ann")), "told")


class _Broken(Exception):
    """Raised inside a transaction."""
