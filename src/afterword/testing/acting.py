"""The contract of the actions of people: cancel, retry, delete, restore."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from afterword.model.job import JobRecord, JobState, NewJob, new_id
from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)
from afterword.store.protocol import MAX_LOST, STOPPED, Report, Settlement, Store
from afterword.testing.kit import (
    FUTURE,
    a_chain,
    a_job,
    claim,
    claim_of,
    end,
    expect,
    expect_refused,
    ids,
    join,
    lose,
    options,
    record,
    running,
    state,
    states,
)

QUEUED, RUNNING, CANCELLED = JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED


def ended(store: Store, outcome: Outcome, worker: str = "ann") -> str:
    """Run a job to this outcome, and return its id."""
    attempt = running(store, worker)
    end(store, attempt, outcome)
    return attempt.id


# ---------------------------------------------------------------------- cancel


def check_cancel(store: Store) -> None:
    """A queued job that is cancelled has ended, with reason and time, and without an attempt."""
    job = a_job()
    store.add([job])
    expect([True], list(store.cancel([job.id], "by ann")), "cancelled")
    found = record(store, job.id)
    told = (found.state, found.error, found.attempt, found.finished_at is not None)
    expect((CANCELLED, "by ann", 0, True), told, "job")
    join(store, "ann")
    expect([], list(claim(store)), "claims")


def check_cancel_is_for_jobs_that_have_not_ended(store: Store) -> None:
    """Ended and unknown jobs are not cancelled, and stay unchanged."""
    done = ended(store, Completed())
    active = running(store, "bob")
    later, waiting = a_job(run_at=FUTURE), a_job(after=active.id)
    store.add([later, waiting])
    before = store.get([done])
    wanted = [done, later.id, active.id, waiting.id, new_id(), later.id]
    answers = list(store.cancel(wanted, "no"))
    expect([False, True, True, True, False, False], answers, "cancelled")
    expect(before, store.get([done]), "the one that had ended")
    expect(RUNNING, state(store, active.id), "the one that runs")


def _id(found: JobRecord) -> str:
    return found.id


def check_cancel_stops_followers(store: Store) -> None:
    """Followers of a cancelled job stop as after a failure, except those that continue."""
    join(store, "ann")
    first, second, third = a_chain(3)
    anyway = a_job(after=second.id, on_failure="continue")
    store.add([first, second, third, anyway])
    expect([True], list(store.cancel([first.id], "no")), "cancelled")
    expect(
        [CANCELLED, CANCELLED, CANCELLED, QUEUED],
        states(store, [first, second, third, anyway]),
        "states",
    )
    expect([STOPPED, STOPPED], [record(store, each.id).error for each in (second, third)], "why")
    expect([anyway.id], ids(claim(store)), "claims")


def check_cancel_of_a_follower(store: Store) -> None:
    """The jobs before a cancelled one are not affected."""
    join(store, "ann")
    jobs = a_chain(3)
    store.add(jobs)
    store.cancel([jobs[1].id], "no")
    expect([QUEUED, CANCELLED, CANCELLED], states(store, jobs), "states")
    end(store, claim_of(store, jobs[0]), Completed())
    expect([], list(claim(store)), "claims")


def check_cancel_between_jobs_in_order(store: Store) -> None:
    """Jobs behind cancelled ones wait for the job before these while it runs."""
    join(store, "ann")
    first, second, third, last = a_chain(4)
    stopped = a_job(after=second.id)
    behind = a_job(after=stopped.id, on_failure="continue")
    chain = [replace(each, on_failure="continue") for each in (second, third, last)]
    store.add([first, *chain, stopped, behind])
    active = claim_of(store, first)
    expect([True] * 2, list(store.cancel([second.id, third.id], "no")), "cancelled")
    expect([first.id] * 2, [record(store, each.id).after for each in (last, behind)], "after")
    expect([], list(claim(store)), "claims while the first one runs")
    end(store, active, Completed())
    expect({last.id, behind.id}, set(ids(claim(store))), "claims")


# ---------------------------------------------------------------------- tenants


def _chains_of_tenants(store: Store) -> list[list[NewJob]]:
    """Add chains of three: of a tenant, and with a job of another one last, between and first."""
    own, other = ("t1", "x"), ("t2",)
    given = [(own, own, own), (own, own, other), (own, other, own), (other, own, own)]
    chains = [a_chain(3) for _ in given]
    chains = [
        [replace(job, tags=tags) for job, tags in zip(chain, each, strict=True)]
        for chain, each in zip(chains, given, strict=True)
    ]
    store.add([job for chain in chains for job in chain])
    return chains


def check_a_tenant_cancels_no_jobs_of_others(store: Store) -> None:
    """With a tenant, only jobs with its tag are cancelled, and none that others' jobs follow."""
    chains = _chains_of_tenants(store)
    firsts = [chain[0].id for chain in chains]
    expect([True, False, False, False], list(store.cancel(firsts, "no", tenant="t1")), "first ones")
    expect([[CANCELLED] * 3, *[[QUEUED] * 3] * 3], [states(store, each) for each in chains], "all")
    lasts = [chain[2].id for chain in chains]
    expect([False, False, True, True], list(store.cancel(lasts, "no", tenant="t1")), "last ones")
    anyone = [chain[1].id for chain in chains[1:]]
    expect([True] * 3, list(store.cancel(anyone, "no")), "without a tenant")


def check_a_tenant_asks_no_job_to_end_that_others_follow(store: Store) -> None:
    """A running job is not asked to end if a job of another tenant would stop with it."""
    attempts = [running(store, worker, tags=("t1",)) for worker in ("ann", "bob")]
    store.add(
        [a_job(after=attempts[0].id, tags=("t2",)), a_job(after=attempts[1].id, tags=("t1",))]
    )
    answers = list(store.cancel([each.id for each in attempts], "no", tenant="t1"))
    expect([False, True], answers, "asked")
    told = [record(store, each.id).cancelling for each in attempts]
    expect([None, "no"], told, "reasons")


def check_a_tenant_retries_no_jobs_of_others(store: Store) -> None:
    """With a tenant, no job is retried with which a job of others would come back."""
    join(store, "ann")
    chains = _chains_of_tenants(store)
    for attempt in claim(store):
        end(store, attempt, Failed("error"))
    firsts = [chain[0].id for chain in chains]
    expect([True, False, False, False], list(store.retry(firsts, tenant="t1")), "first ones")
    ended = [JobState.FAILED, CANCELLED, CANCELLED]
    expect([[QUEUED] * 3, *[ended] * 3], [states(store, each) for each in chains], "all")
    thirds = [chain[2].id for chain in chains[1:]]
    expect([False, True, True], list(store.retry(thirds, tenant="t1")), "last ones")
    expect([True] * 3, list(store.retry(firsts[1:])), "without a tenant")


def check_a_tenant_deletes_no_jobs_of_others(store: Store) -> None:
    """With a tenant, no job is deleted behind which a job of others would move up."""
    join(store, "ann")
    chains = _chains_of_tenants(store)
    seconds = [chain[1].id for chain in chains]
    expect([True, False, False, True], list(store.delete(seconds, tenant="t1")), "queued ones")
    expect([chains[2][1].id], [record(store, chains[2][2].id).after], "after")
    for attempt in claim(store):
        end(store, attempt, Failed("error"))
    firsts = [chain[0].id for chain in chains]
    expect([True, True, True, False], list(store.delete(firsts, tenant="t1")), "ended ones")


# ---------------------------------------------------------------------- retry


def check_retry_of_what_failed(store: Store) -> None:
    """A failed job is queued again, due now and without its error; the next attempt is another."""
    job_id = ended(store, Failed("error"))
    expect([True], list(store.retry([job_id])), "retried")
    found = record(store, job_id)
    told = (found.state, found.attempt, found.error, found.worker, found.finished_at)
    expect((QUEUED, 1, None, None, None), told, "job")
    expect(True, found.run_at - found.created_at < timedelta(seconds=300), "it is due now")
    (attempt,) = claim(store)
    expect((job_id, 2), (attempt.id, attempt.attempt), "the next attempt")
    expect(True, end(store, attempt, Completed()), "settled")
    expect(JobState.COMPLETED, state(store, job_id), "state")


def check_retry_of_every_end(store: Store) -> None:
    """Completed and cancelled jobs can be retried, too; one without an attempt starts at 1."""
    done, stopped = ended(store, Completed(), "ann"), ended(store, Cancelled("no"), "bob")
    job = a_job(run_at=FUTURE)
    store.add([job])
    store.cancel([job.id], "no")
    expect([True] * 3, list(store.retry([done, stopped, job.id])), "retried")
    attempts = {each.id: each.attempt for each in claim(store)}
    expect({done: 2, stopped: 2, job.id: 1}, attempts, "attempts")


def check_retry_is_for_jobs_that_ended(store: Store) -> None:
    """Queued, running and unknown jobs are not retried; a job is retried once per call."""
    failed, active, queued = ended(store, Failed("error")), running(store, "bob"), a_job()
    store.add([queued])
    answers = list(store.retry([queued.id, active.id, new_id(), failed, failed]))
    expect([False, False, False, True, False], answers, "retried")
    expect([False], list(store.retry([failed])), "retried again")


def check_retry_forgives_lost_workers(store: Store) -> None:
    """Retrying a poison job resets its lost workers, but not its interruptions."""
    attempt = running(store, "ann")
    end(store, attempt, Released())
    for worker in ("bob", "cid", "dan", "eve")[:MAX_LOST]:
        join(store, worker)
        lose(store, claim(store, worker)[0])
    expect(JobState.FAILED, state(store, attempt.id), "the poison job")
    expect([True], list(store.retry([attempt.id])), "retried")
    found = record(store, attempt.id)
    kept = (found.attempt, found.lost, found.interrupted)
    expect((1 + MAX_LOST, 0, 1), kept, "attempt, lost, interrupted")


def check_retry_ends_every_older_claim(store: Store) -> None:
    """An older claim cannot end a job that was retried."""
    attempt = running(store)
    end(store, attempt, Failed("error"))
    store.retry([attempt.id])
    expect(False, end(store, attempt, Completed()), "settled while it is queued")
    claim(store)
    expect(False, end(store, attempt, Completed()), "settled while it runs")
    expect(RUNNING, state(store, attempt.id), "state")


def check_retry_brings_followers_back(store: Store) -> None:
    """Followers cancelled with a job are retried with it, and run in the old order."""
    join(store, "ann")
    jobs = a_chain(4)
    store.add(jobs)
    end(store, claim_of(store, jobs[0]), Failed("error"))
    expect([True], list(store.retry([jobs[0].id])), "retried")
    expect([QUEUED] * 4, states(store, jobs), "states")
    expect([None] * 4, [record(store, job.id).error for job in jobs], "errors")
    for job in jobs:
        attempt = claim_of(store, job)
        expect([], list(claim(store)), "claims of those behind it")
        end(store, attempt, Completed())


def check_retry_leaves_others_cancelled(store: Store) -> None:
    """A follower that was cancelled by a person stays cancelled, as do the jobs behind it."""
    join(store, "ann")
    jobs = a_chain(3)
    store.add(jobs)
    store.cancel([jobs[1].id], "not this one")
    end(store, claim_of(store, jobs[0]), Failed("error"))
    store.retry([jobs[0].id])
    expect([QUEUED, CANCELLED, CANCELLED], states(store, jobs), "states")


def check_retry_of_a_whole_request(store: Store) -> None:
    """Retrying a job with its followers, in any order, is the same as retrying the first."""
    join(store, "ann")
    jobs = a_chain(3)
    store.add(jobs)
    end(store, claim_of(store, jobs[0]), Failed("error"))
    expect([True] * 3, list(store.retry([job.id for job in reversed(jobs)])), "retried")
    for job in jobs:
        end(store, claim_of(store, job), Completed())
    expect([JobState.COMPLETED] * 3, states(store, jobs), "states")


def check_retry_of_a_follower_alone(store: Store) -> None:
    """A retried job waits for its predecessor only if that has not ended."""
    join(store, "ann")
    jobs = a_chain(2)
    store.add(jobs)
    store.cancel([jobs[1].id], "no")
    store.retry([jobs[1].id])
    expect(jobs[0].id, record(store, jobs[1].id).after, "after, while the first is queued")
    end(store, claim_of(store, jobs[0]), Failed("error"))
    store.retry([jobs[1].id])
    expect([jobs[1].id], ids(claim(store)), "claims when the first has failed")


# ---------------------------------------------------------------------- delete


def check_delete(store: Store) -> None:
    """Ended and queued jobs can be deleted, once; running and unknown ones cannot."""
    done, active, queued = ended(store, Failed("error")), running(store, "bob"), a_job()
    store.add([queued])
    answers = list(store.delete([done, active.id, queued.id, new_id(), done]))
    expect([True, False, True, False, False], answers, "deleted")
    expect(
        [None, RUNNING, None],
        [state(store, each) for each in (done, active.id, queued.id)],
        "states",
    )
    expect(1, sum(store.count().values()), "jobs left")


def check_followers_of_a_deleted_job_move_up(store: Store) -> None:
    """Followers of a deleted job wait for its predecessor instead."""
    join(store, "ann")
    jobs = a_chain(3)
    store.add(jobs)
    store.delete([jobs[1].id])
    expect(jobs[0].id, record(store, jobs[2].id).after, "after")
    store.delete([jobs[0].id])
    expect([jobs[2].id], ids(claim(store)), "claims")


# ---------------------------------------------------------------------- restore


_kept: dict[str, Any] = {"tags": ("a", "ö"), "limit_key": "l", "options": options(retries=3)}


def _one_of_each(store: Store) -> Sequence[JobRecord]:
    """Return records of jobs in every state, under ids that this store does not have."""
    outcomes: tuple[Outcome, ...] = (
        Completed("1"),
        HandedOver(),
        Failed("error"),
        Cancelled("no"),
    )
    for number, outcome in enumerate(outcomes):
        attempt = running(store, f"worker-{number}", unique_key=outcome.__class__.__name__, **_kept)
        end(store, attempt, RetryAt(0.0, "error"))
        end(store, claim(store, attempt.worker)[0], outcome)
    attempt = running(store, "ann", arguments='{"to": "ö 雪"}', request_id="r-1", **_kept)
    store.report([Report(attempt, "50")])
    store.add([a_job(run_at=FUTURE, priority=-3, queue="mail", on_failure="continue")])
    return [replace(each, id=new_id()) for each in store.find()]


def check_restore_keeps_what_was_known(store: Store) -> None:
    """Restored jobs are the same as in the other store; a running one is queued again."""
    records = _one_of_each(store)
    expect([True] * len(records), list(store.restore(records)), "restored")
    for each in records:
        again = replace(each, state=QUEUED, worker=None, started_at=None)
        expected = again if each.state is RUNNING else each
        expect(expected, record(store, each.id), f"what was {each.state}")


def check_restore_is_idempotent(store: Store) -> None:
    """Jobs that exist already, in any state, are not changed."""
    records = _one_of_each(store)
    store.restore(records)
    join(store, "bob")
    for attempt in claim(store, "bob"):
        end(store, attempt, Completed())
    before = sorted(store.find(), key=_id)
    expect([False] * len(records), list(store.restore(records)), "restored again")
    expect(before, sorted(store.find(), key=_id), "all jobs")
    twice = replace(records[0], id=new_id())
    expect([True, False], list(store.restore([twice, twice])), "the same job twice")


def check_restored_jobs_can_be_claimed(store: Store) -> None:
    """A job that was running elsewhere runs here with the next attempt number."""
    found = [each for each in _one_of_each(store) if each.state is RUNNING]
    store.restore(found)
    expect(True, store.changed(), "changed")
    join(store, "bob")
    (attempt,) = claim(store, "bob")
    expect((found[0].id, 2), (attempt.id, attempt.attempt), "the next attempt")


def check_restore_keeps_the_order_of_requests(store: Store) -> None:
    """A restored job waits for its predecessor, if that exists or is restored in the same call."""
    first, second, third = (new_id() for _ in range(3))
    store.add([a_job(run_at=FUTURE)])
    (model,) = store.find()
    records = [
        replace(model, id=third, after=second),
        replace(model, id=first, after=new_id()),
        replace(model, id=second, after=first),
    ]
    expect([True] * 3, list(store.restore(records)), "restored")
    expect(
        [None, first, second],
        [record(store, each).after for each in (first, second, third)],
        "after",
    )
    store.restore([replace(model, id=(fourth := new_id()), after=third)])
    expect(third, record(store, fourth).after, "after one that is here")


def check_restore_does_not_wait_for_what_has_ended(store: Store) -> None:
    """A restored job whose predecessor has ended does not wait for it."""
    done = ended(store, Completed())
    store.add([a_job()])
    (queued,) = [each for each in store.find() if each.state is QUEUED]
    other = replace(record(store, done), id=new_id())
    followers = [replace(queued, id=new_id(), after=each) for each in (done, other.id)]
    store.restore([*followers, other])
    expect([None, None], [record(store, each.id).after for each in followers], "after")


def check_restore_refuses_nonsense(store: Store) -> None:
    """The database refuses an invalid record, and the whole batch with it."""
    store.add([a_job()])
    (queued,) = store.find()
    good = replace(queued, id=new_id())
    for what, bad in {
        "an id that is no UUID": replace(queued, id="1"),
        "a queued job with a negative attempt": replace(queued, id=new_id(), attempt=-1),
        "an end without a time": replace(queued, id=new_id(), state=JobState.COMPLETED),
    }.items():
        expect_refused(store, lambda bad=bad: store.restore([good, bad]), what)  # type: ignore[misc]


# ---------------------------------------------------------------------- all actions


def check_acting_is_undone_with_its_transaction(store: Store) -> None:
    """Actions in a transaction that fails have no effect."""
    failed, queued, other = ended(store, Failed("error")), a_job(), a_job(run_at=FUTURE)
    store.add([queued, other])
    before = sorted(store.find(), key=_id)
    try:
        with store.transaction():
            store.retry([failed])
            store.cancel([queued.id], "no")
            store.delete([other.id])
            store.restore([replace(before[-1], id=new_id())])
            raise _Broken
    except _Broken:
        pass
    expect(before, sorted(store.find(), key=_id), "all jobs")


class _Broken(Exception):
    """Raised inside a transaction."""


def check_changed_when_people_act(store: Store) -> None:
    """`changed` reports every action that makes a job claimable."""
    join(store, "ann")
    failed = ended(store, Failed("error"), "bob")
    first, second = a_job(run_at=FUTURE), a_job()
    ways: dict[str, Callable[[], object]] = {
        "retry": lambda: store.retry([failed]),
        "cancel": lambda: store.cancel([first.id], "no"),
        "delete": lambda: store.delete([second.id]),
        "announce": store.announce,
    }
    store.add([first, a_job(after=first.id, on_failure="continue")])
    store.add([second, a_job(after=second.id)])
    for what, way in ways.items():
        if all(store.changed() for _ in range(100)):
            raise AssertionError("changed() always returns True, which makes idle workers spin")
        way()
        expect(True, store.changed(), f"changed after {what}")


def check_two_people_at_once(store: Store) -> None:
    """If several threads do the same to a job at the same time, one of them succeeds."""
    for _ in range(20):
        failed = ended(store, Failed("error"), new_id())
        expect(1, sum(_at_once(lambda job_id=failed: store.retry([job_id]))), "retried")  # type: ignore[misc]
        expect(1, sum(_at_once(lambda job_id=failed: store.cancel([job_id], "no"))), "cancelled")  # type: ignore[misc]
        expect(1, sum(_at_once(lambda job_id=failed: store.delete([job_id]))), "deleted")  # type: ignore[misc]


def _at_once(act: Callable[[], Sequence[bool]], people: int = 4) -> list[bool]:
    begin = threading.Barrier(people)
    answers: list[bool] = []

    def person() -> None:
        begin.wait(timeout=30)
        answers.extend(act())

    threads = [threading.Thread(target=person) for _ in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    expect(people, len(answers), "answers")
    return answers


def check_people_act_while_workers_work(store: Store) -> None:
    """Actions in one thread and a worker's verbs in another do not interfere."""
    join(store, "ann")
    jobs = [a_job() for _ in range(30)]
    store.add(jobs)
    cancelled: list[bool] = []

    def cancel() -> None:
        cancelled.extend(answer for job in jobs for answer in store.cancel([job.id], "no"))

    person = threading.Thread(target=cancel)
    person.start()
    completed: list[bool] = []
    while claims := claim(store, limit=3):
        completed.extend(store.settle([Settlement(each, Completed()) for each in claims]))
    person.join(timeout=60)
    completed.extend(end(store, each, Completed()) for each in claim(store))
    counts = store.count()
    expect(len(jobs), len(cancelled), "answers")
    expect(sum(completed), counts[JobState.COMPLETED], "completed jobs")
    expect(len(jobs) - sum(completed), counts[CANCELLED], "cancelled jobs")
    expect(True, counts[CANCELLED] <= sum(cancelled), "accepted requests to cancel")


# ---------------------------------------------------------------------- in the user's transaction


def check_statements_hold_plain_values(store: Store) -> None:
    """Statements for a user's connection have values that every driver accepts."""
    attempt = running(store)
    outcomes: tuple[Outcome, ...] = (Completed(), Failed("error"), Cancelled("no"), Released())
    statements = [
        *store.adding([first := a_job(**_kept), a_job(after=first.id, unique_key="k", held=True)]),
        *(
            each
            for outcome in outcomes
            for each in store.completing(Settlement(attempt, outcome, a_chain(2)))
        ),
        store.identifying(),
        *store.announcing(),
    ]
    values = [value for each in statements for value in each.values.values()]
    items = [item for value in values for item in (value if type(value) is list else [value])]
    kinds = {type(item) for item in items}
    expect(set(), kinds - {bool, int, float, str, type(None)}, "types that are not plain")
