"""The contract of `Store.join`, `renew`, `leave` and `recover`: workers that come and go."""

import time
from dataclasses import replace
from datetime import timedelta

from afterword.model.job import JobState, new_id
from afterword.model.outcome import MAX_INTERRUPTED, Completed, Released, RetryAt
from afterword.store.protocol import MAX_LOST, Claim, Store
from afterword.testing.kit import (
    BATCH,
    FUTURE,
    LONG,
    TOOK,
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
    seconds_between,
    state,
    states,
)

SHORT = 0.3  # seconds


def check_recover_takes_nothing_from_the_living(store: Store) -> None:
    """The jobs of a worker with a valid lease are not recovered."""
    attempt = running(store)
    expect([], list(store.recover(BATCH, LONG)), "recovered")
    expect(True, end(store, attempt, Completed()), "settled")


def check_recover_after_leave(store: Store) -> None:
    """The jobs of a worker that leaves are lost at once, held ones included."""
    attempt = running(store, "ann")
    held = a_job(held=True)
    store.add([held], held_by="ann")
    store.leave("ann")
    recovered = [each.id for each in store.recover(BATCH, LONG)]
    expect(sorted([attempt.id, held.id]), sorted(recovered), "recovered")


def check_recover_after_the_lease(store: Store) -> None:
    """A worker that does not renew loses its jobs when its lease expires."""
    store.join("ann", lease=SHORT)
    job = a_job()
    store.add([job])
    claim_of(store, job)
    time.sleep(2 * SHORT)
    expect([job.id], [each.id for each in store.recover(BATCH, LONG)], "recovered")
    expect(False, store.renew("ann", LONG), "renewed after its jobs were taken")


def check_recover_takes_from_the_lost_only(store: Store) -> None:
    """Of several workers, only the one that is gone loses its jobs."""
    lost, kept = running(store, "ann"), running(store, "bob")
    store.leave("ann")
    recovered = store.recover(BATCH, LONG)
    expect([(lost.id, "ann")], [(each.id, each.worker) for each in recovered], "recovered")
    expect(JobState.RUNNING, state(store, kept.id), "the other worker's job")


def check_recover_what_a_worker_has_lost_track_of(store: Store) -> None:
    """A living worker lists the jobs that it knows of; its others are recovered."""
    join(store, "ann")
    store.add([a_job(), a_job()])
    known, forgotten = claim(store)
    others = running(store, "bob")
    taken = store.recover(BATCH, LONG, "ann", [known.id])
    expect([(forgotten.id, "ann")], [(each.id, each.worker) for each in taken], "recovered")
    expect(False, end(store, forgotten, Completed()), "settled after that")
    expect((True, True), (end(store, known, Completed()), end(store, others, Completed())), "else")
    expect(1, record(store, forgotten.id).lost, "losses")
    expect([], list(store.recover(BATCH, LONG, "ann", [])), "recovered a second time")


def check_recover_leaves_other_jobs_alone(store: Store) -> None:
    """Queued and ended jobs are never recovered."""
    attempt = running(store)
    end(store, attempt, Completed())
    store.add([a_job()])
    store.leave("ann")
    expect([], list(store.recover(BATCH, LONG)), "recovered")


def check_recover_queues_again(store: Store) -> None:
    """A job that lost its first worker is queued with the count and a reason, due at once."""
    attempt = running(store, "ann")
    lose(store, attempt, LONG)
    found = record(store, attempt.id)
    kept = (found.state, found.attempt, found.lost, found.worker, bool(found.error))
    expect((JobState.QUEUED, 1, 1, None, True), kept, "job")
    join(store, "bob")
    again = [(each.attempt, each.lost) for each in claim(store, "bob")]
    expect([(2, 1)], again, "the next attempt, and how many workers were lost")


def check_recover_reports(store: Store) -> None:
    """Recover returns each job with its task, attempt, lost workers and new state."""
    attempt = running(store, "ann")
    store.leave("ann")
    (report,) = store.recover(BATCH, LONG)
    told = (report.id, report.task, report.attempt, report.lost, report.state)
    expect((attempt.id, "app:send", 1, 1, JobState.QUEUED), told, "report")
    expect([], list(store.recover(BATCH, LONG)), "recovered a second time")


def check_recover_waits_longer_each_time(store: Store) -> None:
    """After its second lost worker a job waits for one lease."""
    attempt = running(store, "ann")
    lose(store, attempt, LONG)
    join(store, "bob")
    lose(store, claim(store, "bob")[0], LONG)
    expect(2, record(store, attempt.id).lost, "lost workers")
    expect([], list(claim(store)), "claims at once")
    waits = record(store, attempt.id).run_at - record(store, attempt.id).created_at
    likely = timedelta(seconds=LONG) <= waits < timedelta(seconds=LONG + 300)
    expect(True, likely, f"{waits} is one lease")


def _poisoned(store: Store, attempt: Claim) -> None:
    """Lose workers with this job until it counts as poison."""
    for number in range(1, MAX_LOST):
        lose(store, attempt, lease=0)
        worker = f"victim-{number}"
        join(store, worker)
        (attempt,) = [each for each in claim(store, worker) if each.id == attempt.id]
    lose(store, attempt, lease=0)


def check_recover_fails_poison(store: Store) -> None:
    """A job that lost MAX_LOST workers has failed as poison, and does not run again."""
    attempt = running(store, "ann")
    _poisoned(store, attempt)
    found = record(store, attempt.id)
    told = (found.state, found.attempt, found.lost)
    expect((JobState.FAILED, MAX_LOST, MAX_LOST), told, "job")
    expect(True, bool(found.error) and found.finished_at is not None, "it says why and when")
    expect([], list(claim(store)), "claims")


def check_all_that_a_retired_worker_leaves_was_interrupted(store: Store) -> None:
    """This holds for a recovery in any number of steps, of a worker that left or was lost."""
    for leaves in (False, True):
        worker = f"leaves-{leaves}"
        store.join(worker, LONG)
        store.add(jobs := [a_job() for _ in range(3)])
        expect(3, len(claim(store, worker)), "claims")
        store.retire(worker)
        if leaves:
            store.leave(worker)
        else:
            store.renew(worker, 0.0)  # its lease has run out
        for _ in jobs:
            expect(1, len(store.recover(1, LONG)), "recovered in a step")
            store.purge(LONG, BATCH)
        counts = [(each.lost, each.interrupted) for each in store.get(ids(jobs))]
        expect([(0, 1)] * 3, counts, "lost and interrupted")
        store.delete(ids(jobs))


def check_what_a_retired_worker_leaves_was_interrupted(store: Store) -> None:
    """Jobs of a worker that shut down are queued at once, and no loss is counted."""
    join(store, "ann")
    job = a_job()
    store.add([job])
    claim_of(store, job)
    store.retire("ann")
    expect([], list(store.recover(BATCH, LONG)), "recovered while the lease holds")
    store.renew("ann", 0.0)  # its lease has run out
    expect([job.id], [each.id for each in store.recover(BATCH, LONG)], "recovered")
    found = record(store, job.id)
    expect((JobState.QUEUED, 0, 1), (found.state, found.lost, found.interrupted), "the record")
    join(store, "bob")
    expect(2, claim_of(store, job, "bob").attempt, "the next attempt")


def check_on_crash_fail(store: Store) -> None:
    """A job with on_crash="fail" fails if its worker is lost, or leaves it behind."""
    for retires in (False, True):
        attempt = running(store, f"worker-{retires}", options=options(on_crash="fail"))
        if retires:
            store.retire(attempt.worker)
            store.renew(attempt.worker, 0.0)  # its lease has run out
        else:
            store.leave(attempt.worker)
        (told,) = store.recover(BATCH, LONG)
        expect((attempt.id, JobState.FAILED), (told.id, told.state), "recovered")
        found = record(store, attempt.id)
        expect((JobState.FAILED, True), (found.state, bool(found.error)), "job, and why")
        expect(int(not retires), found.lost, "lost workers")


def check_on_crash_always(store: Store) -> None:
    """A job with on_crash="always" is queued again after any number of lost workers."""
    attempt = running(store, options=options(on_crash="always"))
    for number in range(1, MAX_LOST + 3):
        store.leave(attempt.worker)
        (told,) = store.recover(BATCH, 0.0)
        expect((JobState.QUEUED, number), (told.state, told.lost), "recovered")
        worker = f"next-{number}"
        join(store, worker)
        (attempt,) = claim(store, worker)


def check_on_crash_fail_is_about_crashes(store: Store) -> None:
    """Such a job is still retried if its task asks for it, or queued again if it is released."""
    attempt = running(store, options=options(on_crash="fail"))
    end(store, attempt, RetryAt(0.0, "error"))
    (attempt,) = claim(store)
    end(store, attempt, Released())
    expect([3], [each.attempt for each in claim(store)], "attempts")


def check_interruptions_have_a_bound(store: Store) -> None:
    """A job that was interrupted by MAX_INTERRUPTED shutdowns has failed."""
    store.add([a_job(run_at=FUTURE)])
    (model,) = store.find()
    jobs = [
        replace(model, id=new_id(), interrupted=MAX_INTERRUPTED - left, run_at=model.created_at)
        for left in (1, 2)
    ]
    store.restore(jobs)
    join(store, "ann")
    expect(2, len(claim(store)), "claims")
    store.retire("ann")
    store.renew("ann", 0.0)
    told = {each.id: each.state for each in store.recover(BATCH, LONG)}
    expected = dict(zip(ids(jobs), (JobState.FAILED, JobState.QUEUED), strict=True))
    expect(expected, told, "recovered")
    expect(expected, dict(zip(ids(jobs), states(store, jobs), strict=True)), "states")
    expect(True, bool(record(store, jobs[0].id).error), "it says why")


def check_poison_stops_followers(store: Store) -> None:
    """A job that fails as poison stops its followers like any failure."""
    join(store, "ann")
    jobs = a_chain(3)
    store.add(jobs)
    _poisoned(store, claim_of(store, jobs[0]))
    expect([JobState.FAILED, *[JobState.CANCELLED] * 2], states(store, jobs), "states")


def check_recover_tells_what_it_did(store: Store) -> None:
    """A held follower that is cancelled with its poison predecessor is not reported as queued."""
    join(store, "ann")
    first = a_job()
    second = a_job(after=first.id, held=True)
    store.add([first, second], held_by="ann")
    for worker in ("bob", "cid", "dan"):
        join(store, worker)
        store.recover(BATCH, lease=0)
        claim_of(store, first, worker)
        store.leave(worker)
    store.leave("ann")
    told = {each.id: each.state for each in store.recover(BATCH, lease=0)}
    expect(JobState.FAILED, told[first.id], "the poisonous job")
    expect(True, told.get(second.id) in (None, JobState.CANCELLED), "the follower as reported")
    expect(JobState.CANCELLED, state(store, second.id), "the follower")


def check_recover_limit(store: Store) -> None:
    """Recover takes at most `limit` jobs at a time; further calls take the rest."""
    join(store, "ann")
    jobs = [a_job() for _ in range(5)]
    store.add(jobs)
    claim(store)
    store.leave("ann")
    taken = [[each.id for each in store.recover(2, LONG)] for _ in range(4)]
    expect([2, 2, 1, 0], [len(each) for each in taken], "jobs per call")
    expect(sorted(ids(jobs)), sorted(each for some in taken for each in some), "jobs in all")


def check_jobs_of_a_stranger_are_lost(store: Store) -> None:
    """A worker that has not joined cannot hold jobs."""
    job = a_job(held=True)
    store.add([job], held_by="stranger")
    expect([job.id], [each.id for each in store.recover(BATCH, LONG)], "recovered")


def check_renew_extends_the_lease(store: Store) -> None:
    """A worker that renews keeps its jobs beyond its first lease."""
    store.join("ann", lease=SHORT)
    job = a_job()
    store.add([job])
    attempt = claim_of(store, job)
    expect(True, store.renew("ann", LONG), "renewed")
    time.sleep(2 * SHORT)
    expect([], list(store.recover(BATCH, LONG)), "recovered")
    expect(True, end(store, attempt, Completed()), "settled")


def check_renew_is_for_members(store: Store) -> None:
    """A worker that has left, or never joined, has no lease to renew."""
    join(store, "ann")
    store.leave("ann")
    expect(False, store.renew("ann", LONG), "renewed after leaving")
    expect(False, store.renew("stranger", LONG), "renewed without joining")


def check_join_once(store: Store) -> None:
    """A worker id can join once: two processes with one id would share a fence."""
    join(store, "ann")
    expect_refused(store, lambda: store.join("ann", LONG), "joining twice")


def check_leave_is_harmless(store: Store) -> None:
    """Leaving twice, or without having joined, is a no-op."""
    join(store, "ann")
    for worker in ("ann", "ann", "stranger"):
        store.leave(worker)
    expect([], list(store.recover(BATCH, LONG)), "recovered")


def check_an_ended_job_outlives_its_worker(store: Store) -> None:
    """A job that was settled before its worker left stays unchanged."""
    attempt = running(store)
    end(store, attempt, Completed())
    before = record(store, attempt.id)
    store.leave("ann")
    store.recover(BATCH, LONG)
    expect(before, record(store, attempt.id), "job")
    expect(TOOK, seconds_between(before.started_at, before.finished_at), "seconds it took")


def check_who_waits_for_a_job_is_not_freed(store: Store) -> None:
    """`free_followers` does not free jobs whose predecessor exists, in any way of calling it."""
    chains = [a_chain(3) for _ in range(3)]
    for chain in chains:
        store.add(chain)
    expect([0] * 9, [store.free_followers(2) for _ in range(9)], "jobs that are not there")
    for first, second, third in chains:
        afters = [record(store, each.id).after for each in (first, second, third)]
        expect([None, first.id, second.id], afters, "after")
