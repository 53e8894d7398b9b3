"""The contract of `Store.settle`: outcomes, the fence, and the effects on followers."""

from datetime import timedelta

from afterword.model.job import JobRecord, JobState, NewJob
from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)
from afterword.store.protocol import Claim, Settlement, Store, held_claim
from afterword.testing.kit import (
    LONG,
    PAST,
    TOOK,
    a_chain,
    a_job,
    claim,
    claim_of,
    end,
    expect,
    expect_between,
    ids,
    join,
    lose,
    record,
    running,
    seconds_between,
    stale,
    state,
    states,
)

OUTCOMES: tuple[Outcome, ...] = (
    Completed(),
    HandedOver(),
    Failed("error"),
    Cancelled("reason"),
    RetryAt(0.0, "error"),
    Released(),
)
FINAL: dict[Outcome, JobState] = {
    Completed(): JobState.COMPLETED,
    HandedOver(): JobState.HANDED_OVER,
    Failed("error"): JobState.FAILED,
    Cancelled("reason"): JobState.CANCELLED,
}


def _ended(store: Store, outcome: Outcome) -> JobRecord:
    attempt = running(store)
    expect(True, end(store, attempt, outcome), f"settled as {outcome}")
    return record(store, attempt.id)


def check_completed(store: Store) -> None:
    """Completed ends a job without an error."""
    found = _ended(store, Completed())
    expect((JobState.COMPLETED, None, 1), (found.state, found.error, found.attempt), "job")


def check_handed_over(store: Store) -> None:
    """HandedOver ends a job in a state of its own, without an error and without a result."""
    found = _ended(store, HandedOver())
    kept = (found.state, found.error, found.result, found.attempt)
    expect((JobState.HANDED_OVER, None, None, 1), kept, "job")


def check_failed(store: Store) -> None:
    """Failed ends a job and keeps the error's text."""
    found = _ended(store, Failed("Traceback\nValueError: ö 雪"))
    expect((JobState.FAILED, "Traceback\nValueError: ö 雪"), (found.state, found.error), "job")


def check_cancelled(store: Store) -> None:
    """Cancelled ends a job and keeps the reason."""
    found = _ended(store, Cancelled("not wanted"))
    expect((JobState.CANCELLED, "not wanted"), (found.state, found.error), "job")


def check_an_ended_job_has_its_times(store: Store) -> None:
    """An ended job has the times of its attempt's start and end, by the store's clock."""
    found = _ended(store, Completed())
    if found.started_at is None or found.finished_at is None:
        raise AssertionError(f"an ended job has both times: {found}")
    expect(TOOK, seconds_between(found.started_at, found.finished_at), "seconds it took")
    took = found.finished_at - found.created_at
    expect(True, timedelta(0) <= took < timedelta(minutes=5), f"{took} is a likely duration")


def check_retry(store: Store) -> None:
    """RetryAt queues a job again, due after its delay, and keeps the error's text."""
    began = store.now()
    found = _ended(store, RetryAt(LONG, "ConnectionError"))
    kept = (found.state, found.attempt, found.worker, found.error)
    expect((JobState.QUEUED, 1, None, "ConnectionError"), kept, "job")
    expect_between(began + LONG, found.run_at, store.now() + LONG, "run_at")
    expect([], list(claim(store)), "claims before the time")


def check_retry_at_once(store: Store) -> None:
    """A retry that is due can be claimed by any worker."""
    found = _ended(store, RetryAt(0.0, "error"))
    join(store, "bob")
    expect([(found.id, 2)], [(got.id, got.attempt) for got in claim(store, "bob")], "claims")


def check_released(store: Store) -> None:
    """Released queues a job again, due at once, and counts the interruption."""
    found = _ended(store, Released())
    expect((JobState.QUEUED, 1, None), (found.state, found.interrupted, found.worker), "job")
    join(store, "bob")
    expect([(found.id, 2)], [(got.id, got.attempt) for got in claim(store, "bob")], "claims")


def check_settle_answers_for_each(store: Store) -> None:
    """Settle returns for each attempt, in order, if its outcome was accepted."""
    join(store, "ann")
    store.add([a_job() for _ in range(4)])
    claims = claim(store)
    end(store, claims[1], Completed())
    answers = store.settle([Settlement(each, Completed()) for each in claims])
    expect([True, False, True, True], list(answers), "answers")
    expect([], list(store.settle([])), "an empty batch")


# ---------------------------------------------------------------------- the fence


def check_settle_is_fenced(store: Store) -> None:
    """No outcome is accepted for a wrong attempt, a wrong worker or an unknown job."""
    attempt = running(store)
    before = record(store, attempt.id)
    for outcome in OUTCOMES:
        for what, other in stale(attempt).items():
            expect(False, end(store, other, outcome), f"{outcome} by {what}")
    expect(before, record(store, attempt.id), "the job")


def check_settle_twice_in_a_batch(store: Store) -> None:
    """Of two outcomes for one attempt in one batch, the first is accepted."""
    for first in OUTCOMES:
        attempt = _fresh(store)
        both = [Settlement(attempt, outcome) for outcome in (first, Completed())]
        expect([True, False], list(store.settle(both)), f"{first}, then Completed")
        _clear(store)
    same = Settlement(_fresh(store), Completed())
    expect([True, False], list(store.settle([same, same])), "the very same twice")


def _fresh(store: Store) -> Claim:
    worker = a_job().id  # any new name
    return running(store, worker)


def _clear(store: Store) -> None:
    for rest in claim(store):
        end(store, rest, Completed())


def check_a_final_state_stays(store: Store) -> None:
    """No outcome changes a job that has ended."""
    for first in FINAL:
        attempt = _fresh(store)
        end(store, attempt, first)
        before = record(store, attempt.id)
        for outcome in OUTCOMES:
            expect(False, end(store, attempt, outcome), f"{outcome} after {first}")
        expect(before, record(store, attempt.id), "the job")


def check_settle_after_recovery(store: Store) -> None:
    """A worker that lost a job cannot end it, neither while it waits nor while another runs it."""
    attempt = running(store, "ann")
    lose(store, attempt)
    for outcome in OUTCOMES:
        expect(False, end(store, attempt, outcome), f"{outcome} after recovery")
    join(store, "bob")
    (second,) = claim(store, "bob")
    for outcome in OUTCOMES:
        expect(False, end(store, attempt, outcome), f"{outcome} during another attempt")
    expect(True, end(store, second, Completed()), "the outcome of the second attempt")


# ---------------------------------------------------------------------- followers


def _after(store: Store, outcome: Outcome, jobs: list[NewJob]) -> list[JobState | None]:
    """Return the states of a chain after this outcome of its first job."""
    join(store, "ann")
    store.add(jobs)
    end(store, claim_of(store, jobs[0]), outcome)
    return states(store, jobs)


def check_completion_frees_the_next(store: Store) -> None:
    """A job that completes makes its follower ready; the job behind that still waits."""
    jobs = a_chain(3)
    _after(store, Completed(), jobs)
    expect([jobs[1].id], ids(claim(store)), "claimed")
    expect(jobs[1].id, record(store, jobs[2].id).after, "the third waits for")


def check_a_hand_over_frees_the_next(store: Store) -> None:
    """A job that is handed over makes its follower ready, as one that completes does."""
    jobs = a_chain(2)
    ended = [JobState.HANDED_OVER, JobState.QUEUED]
    expect(ended, _after(store, HandedOver(), jobs), "states")
    expect([jobs[1].id], ids(claim(store)), "claimed")


def check_failure_stops_the_rest(store: Store) -> None:
    """A job that fails cancels all jobs behind it, with a reason and without an attempt."""
    jobs = a_chain(4)
    cancelled = [JobState.CANCELLED] * 3
    expect([JobState.FAILED, *cancelled], _after(store, Failed("error"), jobs), "states")
    for job in jobs[1:]:
        found = record(store, job.id)
        expect((0, True), (found.attempt, bool(found.error)), "attempts, and a reason given")


def check_cancellation_stops_the_rest(store: Store) -> None:
    """A job that is cancelled cancels all jobs behind it."""
    expect([JobState.CANCELLED] * 3, _after(store, Cancelled("no"), a_chain(3)), "states")


def check_on_failure_continue(store: Store) -> None:
    """With on_failure="continue" the next job runs after a failure, in order."""
    for outcome, final in ((Failed("error"), JobState.FAILED), (Cancelled("no"), None)):
        jobs = a_chain(3, on_failure="continue")
        expected = [final or JobState.CANCELLED, JobState.QUEUED, JobState.QUEUED]
        store.leave("ann")
        expect(expected, _after(store, outcome, jobs), "states")
        expect([jobs[1].id], ids(claim(store)), "claimed")


def check_a_stop_ends_where_continue_begins(store: Store) -> None:
    """A chain is cancelled up to the first job that continues, which is ready."""
    first, second = a_chain(2)
    third = a_job(after=second.id, on_failure="continue")
    fourth = a_job(after=third.id)
    jobs = [first, second, third, fourth]
    expected = [JobState.FAILED, JobState.CANCELLED, JobState.QUEUED, JobState.QUEUED]
    expect(expected, _after(store, Failed("error"), jobs), "states")
    expect([third.id], ids(claim(store)), "claimed")


def check_several_followers(store: Store) -> None:
    """Each follower of a job follows its own rule."""
    first = a_job()
    stop, go = a_job(after=first.id), a_job(after=first.id, on_failure="continue")
    expected = [JobState.FAILED, JobState.CANCELLED, JobState.QUEUED]
    expect(expected, _after(store, Failed("error"), [first, stop, go]), "states")


def check_followers_wait_for_the_last_attempt(store: Store) -> None:
    """Followers wait for a job that is retried or released, because it has not ended."""
    for outcome in (RetryAt(LONG, "error"), Released()):
        jobs = a_chain(2)
        store.leave("ann")
        expect([JobState.QUEUED, JobState.QUEUED], _after(store, outcome, jobs), "states")
        expect(False, jobs[1].id in ids(claim(store)), "the follower was claimed")


def check_a_held_follower_is_stopped(store: Store) -> None:
    """A failure also cancels a held follower; its holder learns it by the fence."""
    join(store, "ann")
    first = a_job()
    second = a_job(after=first.id, held=True)
    store.add([first, second], held_by="ann")
    end(store, claim_of(store, first), Failed("error"))
    found = record(store, second.id)
    expect(JobState.CANCELLED, found.state, "the held follower")
    late = held_claim(second, "ann", PAST)
    expect(False, end(store, late, Completed()), "settled by its holder")


def check_other_requests_go_on(store: Store) -> None:
    """A failure affects only the jobs behind it."""
    before, other = a_job(), a_chain(2)
    store.add([before, *other])
    jobs = a_chain(2)
    join(store, "ann")
    store.add(jobs)
    end(store, claim_of(store, jobs[0]), Failed("error"))
    expect(JobState.RUNNING, state(store, before.id), "a job on its own")
    expect([JobState.RUNNING, JobState.QUEUED], states(store, other), "another chain")
