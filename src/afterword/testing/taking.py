"""The contract of `Store.claim`, `release` and `discard`."""

import time

from afterword.model.job import JobState, new_id
from afterword.model.outcome import Cancelled, Completed, Failed, Released, RetryAt
from afterword.model.records import Filter
from afterword.store.protocol import Claim, Putback, Report, Settlement, Store, held_claim
from afterword.testing.kit import (
    BATCH,
    FUTURE,
    LONG,
    PAST,
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
    options,
    record,
    running,
    stale,
    state,
    states,
)


def check_claim_gives_what_is_needed_to_run(store: Store) -> None:
    """A claim has job, attempt, worker, task and arguments; the job is then running."""
    join(store, "ann")
    job = a_job(arguments='{"n": 1}')
    store.add([job])
    (got,) = claim(store)
    known = (got.id, got.attempt, got.worker, got.task, got.arguments)
    expect((job.id, 1, "ann", "app:send", '{"n": 1}'), known, "claim")
    found = record(store, job.id)
    expect((JobState.RUNNING, 1, "ann"), (found.state, found.attempt, found.worker), "job")
    apart = abs(found.created_at.timestamp() - got.created_at)
    expect(True, apart < 0.001, f"created_at, {apart} s apart")


def check_claim_is_exclusive(store: Store) -> None:
    """A running job cannot be claimed."""
    running(store, "ann")
    join(store, "bob")
    expect([], list(claim(store, "bob")), "claims of another worker")
    expect([], list(claim(store, "ann")), "claims of its own worker")


def check_claim_order(store: Store) -> None:
    """Within a queue the order is: lowest priority number, earliest run_at, smallest id."""
    join(store, "ann")
    urgent = a_job(priority=-1)
    early, late = a_job(run_at=PAST), a_job(run_at=PAST + 60)
    twins = [a_job(run_at=PAST + 30), a_job(run_at=PAST + 30)]
    last = a_job(priority=1, run_at=PAST)
    store.add([last, late, *reversed(twins), urgent, early])
    expect(ids([urgent, early, *twins, late, last]), ids(claim(store)), "order")


def check_claim_order_holds_one_by_one(store: Store) -> None:
    """Single claims come in the same order as one large claim, whatever the ids."""
    join(store, "ann")
    late, early = a_job(run_at=PAST + 60), a_job(run_at=PAST)
    jobs = [early, late, *(a_job(priority=5, run_at=PAST) for _ in range(2))]
    store.add(jobs[::-1])
    order = [got.id for _ in jobs for got in claim(store, limit=1)]
    expect(ids(jobs), order, "order")


def check_claim_limit(store: Store) -> None:
    """Claim takes at most `limit` jobs, across priorities and queues, and leaves the rest."""
    join(store, "ann")
    store.add([a_job(priority=n % 2, queue=("a", "b")[n // 4]) for n in range(8)])
    expect(0, len(store.claim("ann", ["a", "b"], 0)), "limit 0")
    expect(5, len(store.claim("ann", ["a", "b"], 5)), "limit 5")
    expect(3, len(store.claim("ann", ["a", "b"], BATCH)), "the rest")


def check_claim_queues(store: Store) -> None:
    """Claim serves the given queues only."""
    join(store, "ann")
    mail, other = a_job(queue="mail"), a_job(queue="other")
    store.add([mail, other])
    expect([], list(store.claim("ann", [], BATCH)), "no queue")
    expect([mail.id], ids(store.claim("ann", ["mail", "empty"], BATCH)), "one queue")
    expect(JobState.QUEUED, state(store, other.id), "the other queue's job")


def check_claim_skips(store: Store) -> None:
    """Claim leaves out the jobs of tasks to skip, even if they come first."""
    join(store, "ann")
    unknown = [a_job(task="new:task", run_at=PAST) for _ in range(3)]
    known = a_job()
    store.add([*unknown, known])
    expect([known.id], ids(store.claim("ann", ["default"], 2, ["new:task", "x:y"])), "claimed")
    expect(0, record(store, unknown[0].id).attempt, "attempts of a skipped job")


def check_claim_takes_what_is_due(store: Store) -> None:
    """A job is not claimed before its run_at."""
    join(store, "ann")
    due = a_job(run_at=PAST)
    store.add([a_job(run_at=FUTURE), due])
    expect([due.id], ids(claim(store)), "claimed")


def check_attempts_rise(store: Store) -> None:
    """Each attempt's number is one more than the last one's, whatever its outcome."""
    attempt = running(store)
    join(store, "bob")
    for expected in (2, 3, 4):
        end(store, attempt, RetryAt(0.0, "error"))
        (attempt,) = claim(store, "bob")
        expect(expected, attempt.attempt, "attempt")
    lose(store, attempt)
    join(store, "cid")
    (attempt,) = claim(store, "cid")
    expect(5, attempt.attempt, "attempt after a lost worker")


def check_claim_clears_the_last_error(store: Store) -> None:
    """A running job has no error of an earlier attempt."""
    attempt = running(store)
    end(store, attempt, RetryAt(0.0, "error"))
    claim(store)
    expect(None, record(store, attempt.id).error, "error")


# ---------------------------------------------------------------------- release


def check_release_gives_the_attempt_back(store: Store) -> None:
    """A released job can be claimed by every worker, and the attempt does not count."""
    attempt = running(store, "ann")
    join(store, "bob")
    expect([True], list(store.release([Putback(attempt)])), "released")
    found = record(store, attempt.id)
    expect((JobState.QUEUED, 0, None), (found.state, found.attempt, found.worker), "job")
    (again,) = claim(store, "bob")
    expect((attempt.id, 1), (again.id, again.attempt), "the next claim")


def check_release_of_a_held_job(store: Store) -> None:
    """A held job that is released is like one that was never held."""
    join(store, "ann", "bob")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    store.release([Putback(held_claim(job, "ann", PAST))])
    expect([(job.id, 1)], [(got.id, got.attempt) for got in claim(store, "bob")], "claimed")


def check_release_keeps_the_order(store: Store) -> None:
    """A held follower that is released still waits for its predecessor."""
    join(store, "ann")
    first = a_job()
    second = a_job(after=first.id, held=True)
    store.add([first, second], held_by="ann")
    store.release([Putback(held_claim(second, "ann", PAST))])
    expect([first.id], ids(claim(store)), "claimed")


def check_release_for_later(store: Store) -> None:
    """A job released with a delay cannot be claimed before it is over, and has the reason."""
    attempt = running(store)
    began = store.now()
    store.release([Putback(attempt, LONG, "nobody knows this task")])
    found = record(store, attempt.id)
    expect("nobody knows this task", found.error, "error")
    expect_between(began + LONG, found.run_at, store.now() + LONG, "run_at")
    expect([], list(claim(store)), "claims")


def check_release_brings_nothing_forward(store: Store) -> None:
    """A held job that is released does not run before its own time."""
    join(store, "ann")
    job = a_job(held=True, run_at=FUTURE)
    store.add([job], held_by="ann")
    store.release([Putback(held_claim(job, "ann", PAST), 1.0)])
    expect([], list(claim(store)), "claims")


def check_parked_counts_from_the_first_reason(store: Store) -> None:
    """A claim has the time since its job was first put back for a reason."""
    attempt = running(store, "ann")
    store.release([Putback(attempt)])
    (attempt,) = claim(store)
    expect(0.0, attempt.parked, "seconds, of a job that found no slot")
    began = store.now()
    store.release([Putback(attempt, reason="nobody knows this task")])
    since = store.now()
    time.sleep(0.01)
    for reason in (None, "nobody knows this task", None):
        join(store, worker := new_id())
        before = store.now()
        (attempt,) = claim(store, worker)
        longest = store.now() - began
        expect(True, before - since <= attempt.parked + 0.001 <= longest + 0.002, "seconds")
        store.release([Putback(attempt, reason=reason)])


def check_parked_jobs_are_found(store: Store) -> None:
    """People see which queued jobs no worker could run so far, why, and since when."""
    join(store, "ann")
    store.add([other := a_job(), job := a_job()])
    reason = "nobody knows this task"
    attempts = list(claim(store, "ann", BATCH))
    expect([], ids(store.find(Filter(parked=True))), "parked jobs that have just been claimed")
    before = store.now()
    for attempt in attempts:
        said = reason if attempt.id == job.id else None
        store.release([Putback(attempt, delay=LONG, reason=said)])
    found = record(store, job.id)
    since = found.parked_at.timestamp() if found.parked_at else 0.0
    expect(True, before - 0.01 <= since <= store.now() + 0.01, "since when it is parked")
    expect(reason, found.error, "the reason")
    expect(None, record(store, other.id).parked_at, "since when the other one is parked")
    expect([job.id], ids(store.find(Filter(parked=True))), "parked jobs")
    expect(1, store.count(Filter(parked=True))[JobState.QUEUED], "how many")
    expect([], ids(store.find(Filter(parked=True, task="app:other"))), "those of another task")
    store.cancel([job.id], "not needed")
    expect([], ids(store.find(Filter(parked=True))), "parked jobs that have ended")


def check_a_release_without_a_reason_keeps_the_last_one(store: Store) -> None:
    """A parked job that was claimed but could not start still says why it is parked."""
    join(store, "ann")
    reason, limit = "nobody knows this task", options(limit=1)
    store.add([job := a_job(limit_key="k", options=limit)])
    store.release([Putback(claim_of(store, job), reason=reason)])
    store.add([first := a_job(limit_key="k", options=limit, run_at=PAST)])
    attempt = claim_of(store, first)  # which takes the other one as well, and puts it off
    expect(reason, record(store, job.id).error, "error of a job that its limit has put off")
    end(store, attempt, Completed())
    attempt = claim_of(store, job)
    expect(None, record(store, job.id).error, "error of a running job")
    expect([], ids(store.find(Filter(error=reason))), "found by its error while it runs")
    store.release([Putback(attempt)])
    expect(reason, record(store, job.id).error, "error of a job that was released")
    expect([job.id], ids(store.find(Filter(error=reason, parked=True))), "found by its error")


def check_a_running_job_has_started(store: Store) -> None:
    """From its claim on; a queued one has not, also between two attempts."""
    join(store, "ann")
    before = store.now()
    store.add([held := a_job(held=True)], "ann")
    store.add([job := a_job()])
    expect(None, record(store, job.id).started_at, "start of a queued job")
    for _ in range(2):
        attempt = claim_of(store, job)
        for each in (held, job):
            started = record(store, each.id).started_at
            at = started.timestamp() if started else 0.0
            expect(True, before - 0.01 <= at <= store.now() + 0.01, "start of a running job")
        (last,) = [each for each in store.attempts(job.id) if each.outcome is None]
        expect(record(store, job.id).started_at, last.started_at, "start of its attempt")
        end(store, attempt, RetryAt(0.0, "error"))
        expect(None, record(store, job.id).started_at, "start between two attempts")


def check_parked_ends_with_an_attempt(store: Store) -> None:
    """Counting starts anew once a worker could run the job."""
    join(store, "ann")
    for outcome in (RetryAt(0.0, "error"), Released()):
        store.add([job := a_job()])
        store.release([Putback(claim_of(store, job), reason="nobody knows this task")])
        end(store, claim_of(store, job), outcome)
        expect(0.0, claim_of(store, job).parked, f"seconds after {outcome}")


def check_release_is_fenced(store: Store) -> None:
    """A claim that does not match releases nothing, nor does the same claim twice."""
    attempt = running(store)
    for what, other in stale(attempt).items():
        expect([False], list(store.release([Putback(other)])), f"release by {what}")
    expect(JobState.RUNNING, state(store, attempt.id), "state")
    twice = store.release([Putback(attempt), Putback(attempt)])
    expect([True, False], list(twice), "released twice in a batch")
    expect(0, record(store, attempt.id).attempt, "attempt")


def check_release_after_the_end(store: Store) -> None:
    """A job that has ended is not released."""
    attempt = running(store)
    end(store, attempt, Completed())
    expect([False], list(store.release([Putback(attempt)])), "released")
    expect(JobState.COMPLETED, state(store, attempt.id), "state")


# ---------------------------------------------------------------------- the number of a claim


def _refused(store: Store, old: Claim, new: Claim) -> None:
    """Expect requests with the old claim to be refused, and the new one to continue."""
    expect((old.id, old.attempt, old.worker), (new.id, new.attempt, new.worker), "the same attempt")
    expect([False], list(store.release([Putback(old)])), "released again")
    expect([False], list(store.discard([old])), "discarded")
    expect([False], list(store.report([Report(old, "{}")])), "reported")
    for outcome in (
        Completed(),
        Failed("error"),
        Cancelled("why"),
        RetryAt(0.0, "error"),
        Released(),
    ):
        expect(False, end(store, old, outcome), f"settled with {outcome}")
    expect(JobState.RUNNING, state(store, new.id), "state")
    both = store.settle([Settlement(each, Completed()) for each in (old, new)])
    expect([False, True], list(both), "both in a batch")


def check_a_claim_holds_once(store: Store) -> None:
    """An old claim is refused even if its worker claims the released attempt again."""
    old = running(store)
    store.release([Putback(old)])
    _refused(store, old, claim(store)[0])


def check_the_claim_of_a_held_job_holds_once(store: Store) -> None:
    """This also holds for the claim that came with adding the job."""
    join(store, "ann")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    old = held_claim(job, "ann", PAST)
    store.release([Putback(old)])
    _refused(store, old, claim(store)[0])


# ---------------------------------------------------------------------- discard


def check_discard_forgets(store: Store) -> None:
    """A discarded job is gone, from the queue and from the history."""
    join(store, "ann")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    expect([True], list(store.discard([held_claim(job, "ann", PAST)])), "discarded")
    expect(None, state(store, job.id), "state")
    expect(0, sum(store.count().values()), "jobs")


def check_discard_lets_followers_move_up(store: Store) -> None:
    """Followers of a discarded first job are ready."""
    join(store, "ann")
    first, second = a_chain(2)
    held = a_job(id=first.id, held=True)
    store.add([held, second], held_by="ann")
    store.discard([held_claim(held, "ann", PAST)])
    expect([second.id], ids(claim(store)), "claimed")


def check_discard_closes_the_gap(store: Store) -> None:
    """Followers of a discarded job wait for, and stop with, its predecessor."""
    join(store, "ann")
    first = a_job()
    middle = a_job(after=first.id, held=True)
    last = a_job(after=middle.id)
    store.add([first, middle, last], held_by="ann")
    store.discard([held_claim(middle, "ann", PAST)])
    expect(first.id, record(store, last.id).after, "after")
    end(store, claim_of(store, first), Failed("error"))
    expect(JobState.CANCELLED, state(store, last.id), "state of the last")


def check_discard_with_a_reason_cancels(store: Store) -> None:
    """With a reason a held job ends as cancelled, and stops its followers."""
    join(store, "ann")
    first = a_job(held=True)
    second = a_job(after=first.id)
    store.add([first, second], held_by="ann")
    expect([True], list(store.discard([held_claim(first, "ann", PAST)], "stopped")), "discarded")
    expect([JobState.CANCELLED] * 2, states(store, [first, second]), "states")
    expect("stopped", record(store, first.id).error, "the reason")
    expect([], list(claim(store)), "claims")
    expect([False], list(store.discard([held_claim(first, "ann", PAST)], "again")), "once more")


def check_discard_is_fenced(store: Store) -> None:
    """A claim that does not match discards nothing, nor does the same claim twice."""
    attempt = running(store)
    for what, other in stale(attempt).items():
        expect([False], list(store.discard([other])), f"discard by {what}")
    expect(JobState.RUNNING, state(store, attempt.id), "state")
    expect([True, False], list(store.discard([attempt, attempt])), "discarded twice in a batch")


def check_discard_after_recovery(store: Store) -> None:
    """A worker that lost a held job cannot discard it any more."""
    join(store, "ann")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    attempt = held_claim(job, "ann", PAST)
    lose(store, attempt)
    expect([False], list(store.discard([attempt])), "discarded")
    expect(JobState.QUEUED, state(store, job.id), "state")


def check_strangers_get_nothing(store: Store) -> None:
    """A worker that has not joined, or has left, gets no claims: its jobs would be lost at once."""
    job = a_job()
    store.add([job])
    expect([], list(claim(store, "nobody")), "claims of who has not joined")
    join(store, "ann")
    store.leave("ann")
    expect([], list(claim(store, "ann")), "claims of who has left")
    expect(0, record(store, job.id).attempt, "the attempt")


def check_next_in(store: Store) -> None:
    """A worker learns in how many seconds the next job of its queues is due."""
    expect(None, store.next_in(["default"]), "in an empty store")
    store.add([a_job(), a_job(run_at=FUTURE), a_job(run_at=PAST)])
    soon = store.now() + 100
    store.add([a_job(run_at=soon, priority=5), a_job(run_at=soon - 50, queue="mail")])
    found = store.next_in(["default"])
    expect(True, found is not None and 90 < found <= 100, f"{found} is in 100 seconds")
    expect(True, (store.next_in(["default", "mail"]) or 0) <= 50, "of both queues")
