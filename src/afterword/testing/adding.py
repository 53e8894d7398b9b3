"""The contract of `Store.add`."""

from afterword.model.job import Delay, JobState
from afterword.model.outcome import Completed, Failed
from afterword.store.protocol import Store, held_claim
from afterword.testing.kit import (
    FUTURE,
    LONG,
    PAST,
    a_chain,
    a_job,
    added,
    claim,
    claim_of,
    end,
    expect,
    expect_between,
    expect_refused,
    ids,
    join,
    record,
    running,
    state,
    states,
)


def check_add_keeps_what_the_job_says(store: Store) -> None:
    """A stored job has the id, task, arguments, queue, priority and request it was added with."""
    job = a_job(arguments='{"to": "ö 雪"}', queue="mail", priority=-3, request_id="r-1")
    store.add([job])
    found = record(store, job.id)
    kept = (found.task, found.arguments, found.queue, found.priority, found.request_id)
    expect(("app:send", '{"to": "ö 雪"}', "mail", -3, "r-1"), kept, "fields")


def check_add_queues(store: Store) -> None:
    """A new job is queued, without an attempt, a worker or an end."""
    job = a_job()
    store.add([job])
    found = record(store, job.id)
    expect(JobState.QUEUED, found.state, "state")
    expect((0, 0, 0), (found.attempt, found.lost, found.interrupted), "attempts")
    expect((None, None, None), (found.worker, found.error, found.finished_at), "ends")


def check_add_answers_for_each_job(store: Store) -> None:
    """Add returns for each job, in order, if it is new."""
    old, new = a_job(), a_job()
    expect([], added(store, []), "an empty batch")
    expect([True], added(store, [old]), "a new job")
    expect([True, False], added(store, [new, old]), "a new and a known job")


def check_add_is_idempotent_in_a_batch(store: Store) -> None:
    """A job that occurs twice in a batch is stored once."""
    job = a_job()
    expect([True, False], added(store, [job, job]), "the same job twice")
    expect(1, store.count()[JobState.QUEUED], "queued jobs")


def check_add_leaves_a_known_job_alone(store: Store) -> None:
    """Adding an id again changes nothing, even if other fields of the job differ."""
    attempt = running(store)
    before = record(store, attempt.id)
    expect([False], added(store, [a_job(id=attempt.id, task="app:other")]), "a known id")
    expect(before, record(store, attempt.id), "the job")


def check_add_is_idempotent_after_the_end(store: Store) -> None:
    """Adding the id of a job that has ended does not run it again."""
    attempt = running(store)
    end(store, attempt, Completed())
    expect([False], added(store, [a_job(id=attempt.id)]), "the id of a finished job")
    expect(JobState.COMPLETED, state(store, attempt.id), "its state")
    expect([], list(claim(store)), "claims")


def check_add_holds(store: Store) -> None:
    """A held job is running at once, as attempt 1 of the worker that added it."""
    join(store, "ann")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    found = record(store, job.id)
    expect((JobState.RUNNING, 1, "ann"), (found.state, found.attempt, found.worker), "held job")


def check_a_held_job_is_not_claimed(store: Store) -> None:
    """A held job cannot be claimed, not even by its holder."""
    join(store, "ann", "bob")
    store.add([a_job(held=True)], held_by="ann")
    expect(([], []), (list(claim(store, "ann")), list(claim(store, "bob"))), "claims")


def check_a_held_job_is_settled_by_its_holder(store: Store) -> None:
    """The claim made by `held_claim` is the fence of a held job."""
    join(store, "ann")
    job = a_job(held=True)
    store.add([job], held_by="ann")
    expect(True, end(store, held_claim(job, "ann", PAST), Completed()), "settled by its holder")


def check_only_jobs_that_ask_for_it_are_held(store: Store) -> None:
    """Jobs of the same batch that are not `held` are queued."""
    join(store, "ann")
    jobs = [a_job(held=True), a_job()]
    store.add(jobs, held_by="ann")
    expect([JobState.RUNNING, JobState.QUEUED], states(store, jobs), "states")


def check_nothing_is_held_by_nobody(store: Store) -> None:
    """A `held` job without a worker is queued."""
    job = a_job(held=True)
    store.add([job])
    expect(JobState.QUEUED, state(store, job.id), "state")


def check_a_follower_of_an_ended_job_is_ready(store: Store) -> None:
    """A job added behind one that has ended, or never existed, does not wait."""
    attempt = running(store)
    end(store, attempt, Failed("error"))
    jobs = [a_job(after=attempt.id), a_job(after=a_job().id)]
    store.add(jobs)
    expect(sorted(ids(jobs)), sorted(ids(claim(store))), "claimed")


def check_a_follower_waits(store: Store) -> None:
    """A job added behind an unfinished one, in the same batch or later, waits for it."""
    join(store, "ann")
    first, second = a_chain(2)
    store.add([first, second])
    claim_of(store, first)
    store.add([a_job(after=first.id)])
    expect([], list(claim(store)), "claims of followers")
    expect(first.id, record(store, second.id).after, "after")


def check_add_refuses_nonsense(store: Store) -> None:
    """The database itself refuses invalid rows, and the whole batch with them."""
    nonsense = {
        "an id that is no UUID": a_job(id="1"),
        "a task without name": a_job(task=""),
        "a queue without name": a_job(queue=""),
        "arguments that are no JSON": a_job(arguments="{'a': 1}"),
        "an unknown on_failure": a_job(on_failure="explode"),
        "a time that is none": a_job(run_at=float("nan")),
        "a time after all calendars": a_job(run_at=float("inf")),
    }
    for what, job in nonsense.items():
        good = a_job()
        expect_refused(store, lambda good=good, job=job: store.add([good, job]), what)  # type: ignore[misc]


def check_a_far_future_is_fine(store: Store) -> None:
    """A job may be due in another century."""
    job = a_job(run_at=FUTURE)
    store.add([job])
    expect(FUTURE, record(store, job.id).run_at.timestamp(), "run_at")


def check_a_delay_is_counted_by_the_store(store: Store) -> None:
    """A job with a `Delay` starts that long after it was added, by the store's clock."""
    join(store, "ann")
    began = store.now()
    later, soon = a_job(run_at=Delay(LONG)), a_job(run_at=Delay(0.0))
    store.add([later, soon])
    expect_between(began + LONG, record(store, later.id).run_at, store.now() + LONG, "run_at")
    expect([soon.id], ids(claim(store)), "claimed")
