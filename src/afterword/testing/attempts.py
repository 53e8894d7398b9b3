"""The contract of the data that a job keeps: attempts, failures, result, children, progress."""

from collections.abc import Sequence

from afterword.model.job import JobState, NewJob
from afterword.model.outcome import Cancelled, Completed, Failed, Outcome, Released, RetryAt
from afterword.model.records import AttemptRecord
from afterword.store.protocol import Claim, Putback, Report, Settlement, Store
from afterword.testing.kit import (
    BATCH,
    FUTURE,
    LONG,
    TOOK,
    a_job,
    claim,
    claim_of,
    end,
    expect,
    ids,
    join,
    lose,
    options,
    record,
    running,
    seconds_between,
    stale,
    state,
    states,
)

_End = tuple[int, str | None, str | None]


def _ends(attempts: Sequence[AttemptRecord]) -> list[_End]:
    return [(each.attempt, each.outcome, each.error) for each in attempts]


# ---------------------------------------------------------------------- attempts


def check_a_queued_job_has_had_no_attempt(store: Store) -> None:
    """A job that has not been claimed has no attempts, nor has an unknown job."""
    job = a_job()
    store.add([job])
    for each in (job.id, a_job().id, "no id", "\0", "'; --"):
        expect([], list(store.attempts(each)), f"attempts of {each!r}")
    store.cancel([job.id], "no")
    expect([], list(store.attempts(job.id)), "attempts of one that was cancelled before")


def check_attempts_are_on_record(store: Store) -> None:
    """Each attempt has its number, worker, outcome, error and times, the running one included."""
    attempt = running(store, "ann")
    expect([(1, None, None)], _ends(store.attempts(attempt.id)), "while it runs")
    end(store, attempt, RetryAt(0.0, "ConnectionError"))
    expect([(1, "failed", "ConnectionError")], _ends(store.attempts(attempt.id)), "while it waits")
    join(store, "bob")
    (second,) = claim(store, "bob")
    end(store, second, Completed())
    first, last = store.attempts(attempt.id)
    expect([(1, "failed", "ConnectionError"), (2, "completed", None)], _ends([first, last]), "told")
    expect(("ann", "bob"), (first.worker, last.worker), "workers")
    expect({attempt.id}, {first.job_id, last.job_id}, "job ids")
    took = [seconds_between(each.started_at, each.ended_at) for each in (first, last)]
    expect([TOOK, TOOK], took, "seconds they took")
    if first.ended_at is None or last.ended_at is None:
        raise AssertionError(f"ended attempts have a time: {first}, {last}")
    expect(True, first.ended_at <= last.ended_at, "they ended one after the other")


def check_every_end_of_an_attempt_is_told(store: Store) -> None:
    """An attempt can be recorded as interrupted, lost, failed or cancelled."""
    attempt = running(store, "ann")
    end(store, attempt, Released())
    lose(store, claim(store, "ann")[0], LONG)
    join(store, "bob")
    end(store, claim(store, "bob")[0], Failed("error"))
    outcomes = [each.outcome for each in store.attempts(attempt.id)]
    expect(["interrupted", "lost", "failed"], outcomes, "outcomes")
    why = [each.error for each in store.attempts(attempt.id)]
    expect([True] * 3, [bool(each) for each in why], f"reasons: {why}")
    other = running(store, "cid")
    end(store, other, Cancelled("no"))
    expect([(1, "cancelled", "no")], _ends(store.attempts(other.id)), "a cancelled one")


def check_poison_has_all_its_attempts(store: Store) -> None:
    """A job that lost its workers keeps all its attempts; the one that ended it is last."""
    attempt = running(store, "ann")
    for worker in ("bob", "cid"):
        lose(store, attempt)
        join(store, worker)
        (attempt,) = claim(store, worker)
    lose(store, attempt)
    outcomes = [each.outcome for each in store.attempts(attempt.id)]
    expect(["lost", "lost", "failed"], outcomes, "outcomes")


def check_a_retired_workers_attempt_was_interrupted(store: Store) -> None:
    """An attempt left behind by a worker that shut down was interrupted, not lost."""
    attempt = running(store, "ann")
    store.retire("ann")
    store.renew("ann", 0.0)
    store.recover(BATCH, LONG)
    expect(["interrupted"], [each.outcome for each in store.attempts(attempt.id)], "outcomes")


def check_what_never_started_is_no_attempt(store: Store) -> None:
    """A claim that is released leaves no attempt behind."""
    attempt = running(store)
    store.release([Putback(attempt)])
    expect([], list(store.attempts(attempt.id)), "attempts")
    end(store, claim(store)[0], Completed())
    expect([(1, "completed", None)], _ends(store.attempts(attempt.id)), "attempts")


def check_retry_by_hand_keeps_the_attempts(store: Store) -> None:
    """A job that is retried by hand keeps its earlier attempts."""
    attempt = running(store)
    end(store, attempt, RetryAt(0.0, "first"))
    end(store, claim(store)[0], Failed("second"))
    store.retry([attempt.id])
    told = [(1, "failed", "first"), (2, "failed", "second")]
    expect(told, _ends(store.attempts(attempt.id)), "while it waits")
    end(store, claim(store)[0], Completed())
    expect([*told, (3, "completed", None)], _ends(store.attempts(attempt.id)), "in the end")
    expect(True, all(each.started_at for each in store.attempts(attempt.id)), "they have started")


def check_stale_outcomes_are_no_attempts(store: Store) -> None:
    """An outcome that is refused leaves no attempt behind."""
    attempt = running(store)
    for other in stale(attempt).values():
        end(store, other, RetryAt(0.0, "error"))
    expect([(1, None, None)], _ends(store.attempts(attempt.id)), "attempts")


def check_attempts_are_forgotten_with_their_job(store: Store) -> None:
    """Purged and deleted jobs have no attempts any more."""
    jobs = []
    for worker, forget in (("ann", store.delete), ("bob", lambda _: store.purge(0.0, BATCH))):
        attempt = running(store, worker)
        end(store, attempt, RetryAt(0.0, "error"))
        end(store, claim(store, worker)[0], Completed())
        jobs.append(record(store, attempt.id))
        forget([attempt.id])
    expect([True, True], list(store.restore(jobs)), "restored")
    for each in jobs:
        expect([(2, "completed", None)], _ends(store.attempts(each.id)), "attempts")


# ---------------------------------------------------------------------- data of a job


def check_a_job_keeps_what_was_said_of_it(store: Store) -> None:
    """Tags, keys and options stay in a job's record until the end, and are in its claims."""
    text = options(retries=3, timeout=1.5)
    job = a_job(tags=("a b", "ö 雪", '"'), unique_key="u", limit_key="l", options=text)
    store.add([job])
    join(store, "ann")
    attempt = claim_of(store, job)
    expect((text, job.tags, True), (attempt.options, attempt.tags, attempt.limited), "the claim")
    expect(_said(job), _said(record(store, job.id)), "while it runs")
    late = (attempt.due_at or 0.0) - record(store, job.id).run_at.timestamp()
    expect(0.0, round(late, 3), "since when it is due")
    end(store, attempt, RetryAt(0.0, "error"))
    again = claim_of(store, job)
    expect((text, job.tags), (again.options, again.tags), "the second claim")
    end(store, again, Completed())
    expect(_said(job), _said(record(store, job.id)), "when it has ended")
    store.retry([job.id])
    expect(_said(job), _said(record(store, job.id)), "when it is retried")
    store.cancel([job.id], "no")
    expect(_said(job), _said(record(store, job.id)), "when it is cancelled")
    plain = claim_of(store, _added(store, a_job()))
    expect((None, (), False), (plain.options, plain.tags, plain.limited), "a plain job's claim")


def _said(job: object) -> tuple[object, ...]:
    return tuple(getattr(job, name) for name in ("tags", "unique_key", "limit_key", "options"))


def _added(store: Store, job: NewJob) -> NewJob:
    store.add([job])
    return job


def check_followers_keep_what_was_said_of_them(store: Store) -> None:
    """Followers that are cancelled with a job, and retried with it, keep them, too."""
    first = running(store)
    job = _added(store, a_job(after=first.id, tags=("a",), limit_key="l", options=options(limit=1)))
    end(store, first, Failed("error"))
    expect(_said(job), _said(record(store, job.id)), "when it is cancelled")
    store.retry([first.id])
    expect(_said(job), _said(record(store, job.id)), "when it is back")


def check_failures_are_counted(store: Store) -> None:
    """A claim has the numbers of failures and interruptions; lost workers count as neither."""
    attempt = running(store, "ann")
    expect((0, 0), (attempt.failures, attempt.interrupted), "the first")
    outcomes: list[Outcome] = [RetryAt(0.0, "error"), Released(), RetryAt(0.0, "error")]
    for outcome, expected in zip(outcomes, [(1, 0), (1, 1), (2, 1)], strict=True):
        end(store, attempt, outcome)
        (attempt,) = claim(store, "ann")
        expect(expected, (attempt.failures, attempt.interrupted), f"after {outcome}")
    lose(store, attempt)
    join(store, "bob")
    (attempt,) = claim(store, "bob")
    expect((2, 1), (attempt.failures, attempt.interrupted), "after a lost worker")
    end(store, attempt, Completed())
    expect(2, record(store, attempt.id).failures, "failures in the end")


def check_retry_by_hand_forgives_failures(store: Store) -> None:
    """A job that is retried by hand has no failures, result or progress."""
    attempt = running(store)
    end(store, attempt, RetryAt(0.0, "error"))
    (attempt,) = claim(store)
    store.report([Report(attempt, "50")])
    end(store, attempt, Completed("1"))
    store.retry([attempt.id])
    found = record(store, attempt.id)
    expect((0, None, None), (found.failures, found.result, found.progress), "job")
    expect([0], [each.failures for each in claim(store)], "failures in its claim")


def check_results_are_kept(store: Store) -> None:
    """A result is kept as it was written; a job that did not complete has none."""
    for result in ('{"to": "ö 雪"}', '"\\u0000"', "null", None):
        attempt = running(store, a_job().id)
        end(store, attempt, Completed(result))
        expect(result, record(store, attempt.id).result, "result")
    failed = running(store, "ann")
    end(store, failed, Failed("error"))
    expect(None, record(store, failed.id).result, "result of a failed job")


# ---------------------------------------------------------------------- children


def check_children_are_added_with_the_end(store: Store) -> None:
    """The jobs that an attempt adds exist once its outcome is accepted, for any outcome."""
    outcomes: tuple[Outcome, ...] = (Completed(), Failed("error"), RetryAt(LONG, "error"))
    for outcome in outcomes:
        attempt = running(store, a_job().id)
        first = a_job(run_at=FUTURE)
        second = a_job(after=first.id)
        children = (first, second)
        answers = store.settle([Settlement(attempt, outcome, children)])
        expect([True], list(answers), f"settled as {outcome}")
        expect([JobState.QUEUED] * 2, states(store, children), f"children of {outcome}")
        expect(first.id, record(store, second.id).after, "the second waits for")


def check_children_of_a_stale_end_are_not_added(store: Store) -> None:
    """An attempt whose outcome is refused adds no jobs."""
    attempt = running(store)
    for what, other in stale(attempt).items():
        child = a_job()
        answers = store.settle([Settlement(other, Completed(), [child])])
        expect([False], list(answers), f"settled by {what}")
        expect(None, state(store, child.id), f"child of {what}")
    twice = [a_job(), a_job()]
    both = [Settlement(attempt, Completed(), [each]) for each in twice]
    expect([True, False], list(store.settle(both)), "settled twice in a batch")
    expect([JobState.QUEUED, None], states(store, twice), "children")


def check_children_can_be_claimed(store: Store) -> None:
    """`changed` reports a child, which may have the unique key of its parent."""
    attempt = running(store, unique_key="k")
    child = a_job(unique_key="k")
    claim(store)
    store.settle([Settlement(attempt, Completed(), [child])])
    expect(True, store.changed(), "changed")
    expect([child.id], ids(claim(store)), "claims")


def check_a_stale_outcome_does_not_stand_in_the_way(store: Store) -> None:
    """A refused outcome in a batch does not keep out the valid one of the same job."""
    lost = running(store, "ann")
    lose(store, lost)
    join(store, "bob")
    (attempt,) = claim(store, "bob")
    answers = store.settle([Settlement(each, Completed()) for each in (lost, attempt)])
    expect([False, True], list(answers), "settled")
    other = running(store, "cid")
    others = stale(other).values()
    putbacks = [Putback(each) for each in (*others, other)]
    expect([False] * len(others) + [True], list(store.release(putbacks)), "released")


# ---------------------------------------------------------------------- progress


def check_progress_is_shown(store: Store) -> None:
    """The latest progress of a running attempt is in the job's record, also after the end."""
    attempt = running(store)
    expect(None, record(store, attempt.id).progress, "at first")
    expect([], list(store.report([])), "nothing to report")
    reports = [Report(attempt, '{"percent": 10}'), Report(attempt, '{"percent": 20}')]
    expect([True, True], list(store.report(reports)), "reported")
    expect('{"percent": 20}', record(store, attempt.id).progress, "while it runs")
    end(store, attempt, Completed())
    expect('{"percent": 20}', record(store, attempt.id).progress, "when it has ended")


def check_progress_is_fenced(store: Store) -> None:
    """A worker that does not run the job (any more) cannot report progress."""
    attempt = running(store)
    for what, other in stale(attempt).items():
        answers = store.report([Report(other, "1"), Report(attempt, "2")])
        expect([False, True], list(answers), f"reported by {what}")
    expect("2", record(store, attempt.id).progress, "progress")
    end(store, attempt, Completed())
    expect([False], list(store.report([Report(attempt, "3")])), "reported after the end")
    expect("2", record(store, attempt.id).progress, "progress after the end")


def check_progress_is_each_jobs_own(store: Store) -> None:
    """Reports of several attempts in one batch go to their own jobs."""
    attempts: list[Claim] = [running(store, f"worker-{number}") for number in range(3)]
    store.report([Report(each, str(number)) for number, each in enumerate(attempts)])
    expect(["0", "1", "2"], [record(store, each.id).progress for each in attempts], "progress")


# ---------------------------------------------------------------------- logs


def check_logs_are_kept_with_attempts(store: Store) -> None:
    """The log of each attempt is kept with it, if there is one, and goes with the job."""
    first = running(store)
    store.settle([Settlement(first, RetryAt(0.0, "no"), log="one\ntwo")])
    (second,) = claim(store)
    store.settle([Settlement(second, RetryAt(0.0, "no"))])
    (third,) = claim(store)
    store.settle([Settlement(third, Completed(), log="the end")])
    expect({1: "one\ntwo", 3: "the end"}, dict(store.logs(first.id)), "logs")
    store.retry([first.id])
    expect([1, 3], sorted(store.logs(first.id)), "attempts with logs once it is retried")
    store.delete([first.id])
    expect({}, dict(store.logs(first.id)), "logs of a deleted job")
    expect({}, dict(store.logs("no id")), "logs of what is no id")


def check_logs_are_purged_with_jobs(store: Store) -> None:
    """The logs of purged jobs are deleted, and no others."""
    purged = running(store)
    kept = running(store, "bob")
    store.settle([Settlement(purged, Completed(), log="one")])
    store.settle([Settlement(kept, RetryAt(LONG, "no"), log="two")])
    store.purge(0.0, BATCH)
    expect({}, dict(store.logs(purged.id)), "logs of a purged job")
    expect({1: "two"}, dict(store.logs(kept.id)), "logs of a queued job")


def check_a_log_needs_the_fence(store: Store) -> None:
    """The log of an attempt that is not ours any more is not kept."""
    attempt = running(store)
    for wrong in stale(attempt).values():
        store.settle([Settlement(wrong, Completed(), log="not ours")])
    expect({}, dict(store.logs(attempt.id)), "logs")
    store.settle([Settlement(attempt, Completed(), log="ours")])
    store.settle([Settlement(attempt, Completed(), log="again")])
    expect({1: "ours"}, dict(store.logs(attempt.id)), "logs")
