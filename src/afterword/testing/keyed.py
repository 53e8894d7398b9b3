"""The contract of unique keys: at most one unfinished job per key."""

from collections.abc import Callable
from dataclasses import replace

from afterword.model.job import JobState, NewJob, new_id
from afterword.model.outcome import (
    Cancelled,
    Completed,
    Failed,
    HandedOver,
    Outcome,
    Released,
    RetryAt,
)
from afterword.store.protocol import Added, Claim, Putback, Store, held_claim
from afterword.testing.kit import (
    BATCH,
    FUTURE,
    LONG,
    PAST,
    a_job,
    added,
    all_claims,
    claim,
    claim_of,
    end,
    expect,
    ids,
    join,
    lose,
    record,
    running,
    state,
    states,
)

_FINAL: tuple[Outcome, ...] = (Completed(), HandedOver(), Failed("error"), Cancelled("no"))


def _keyed(key: str = "k", **changes: object) -> NewJob:
    return a_job(unique_key=key, **changes)


def _ended(store: Store, worker: str = "ann", **changes: object) -> str:
    """Run a job with this key to its end."""
    attempt = running(store, worker, **{"unique_key": "k", **changes})
    end(store, attempt, Completed())
    return attempt.id


def check_of_one_key_one_job_is_added(store: Store) -> None:
    """No job is added while one with its unique key has not ended; that one is named instead."""
    first, second, other = _keyed(), _keyed(), _keyed("other")
    expect([Added(first.id, True)], list(store.add([first])), "the first")
    expect([Added(first.id, False)], list(store.add([second])), "another one with its key")
    expect([Added(other.id, True)], list(store.add([other])), "one with another key")
    expect(None, state(store, second.id), "state of what was not added")
    expect("k", record(store, first.id).unique_key, "the key")


def check_of_one_key_in_a_batch_the_first_is_added(store: Store) -> None:
    """Of several jobs with one key in a batch, the first is added, and named for the others."""
    first, second, third = _keyed(), a_job(), _keyed()
    fourth, fifth = _keyed("a"), _keyed("a")
    expected = [
        Added(first.id, True),
        Added(second.id, True),
        Added(first.id, False),
        Added(fourth.id, True),
        Added(fourth.id, False),
    ]
    expect(expected, list(store.add([first, second, third, fourth, fifth])), "answers")


def check_a_key_is_taken_until_the_end(store: Store) -> None:
    """A key is taken while its job waits, runs, is held, released, retried or recovered."""
    join(store, "ann", "bob")
    job = _keyed(held=True)
    store.add([job], held_by="ann")
    expect([False], added(store, [_keyed()]), "while it is held")
    lose_it = store.find()[0]
    store.leave("ann")
    expect([job.id], [each.id for each in store.recover(BATCH, 0.0)], f"recovered: {lose_it}")
    expect([False], added(store, [_keyed()]), "when it was recovered")
    for outcome in (RetryAt(0.0, "error"), Released()):
        end(store, claim_of(store, job, "bob"), outcome)
        expect([False], added(store, [_keyed()]), f"after {outcome}")
    store.release([Putback(claim_of(store, job, "bob"), LONG)])
    expect([False], added(store, [_keyed(held=True)], "bob"), "when it was released")
    expect([job.id], ids(store.find()), "jobs")


def check_a_key_is_free_after_the_end(store: Store) -> None:
    """A key is free once its job has ended, in any state."""
    join(store, "ann")
    for outcome in _FINAL:
        job = _keyed()
        expect([Added(job.id, True)], list(store.add([job])), f"before {outcome}")
        end(store, claim_of(store, job), outcome)
    last = _keyed()
    store.add([last])
    store.cancel([last.id], "no")
    expect([True], added(store, [_keyed()]), "after a cancellation")


def check_a_key_is_free_after_a_deletion(store: Store) -> None:
    """A deleted or discarded job frees its key."""
    job = _keyed()
    store.add([job])
    store.delete([job.id])
    attempt = running(store, unique_key="k")
    store.discard([attempt])
    expect([True], added(store, [_keyed()]), "added")


def check_unique_ended(store: Store) -> None:
    """A job with `unique_ended` is not added while an ended job with its key is kept."""
    _ended(store, "ann")
    latest = _ended(store, "bob")
    job = _keyed(unique_ended=True)
    expect([Added(latest, False)], list(store.add([job])), "while it is kept")
    unfinished = _keyed()
    expect([True], added(store, [unfinished]), "one that does not ask for it")
    expect([Added(unfinished.id, False)], list(store.add([job])), "while both are there")
    store.delete([unfinished.id])
    store.purge(0.0, BATCH)
    expect([Added(job.id, True)], list(store.add([job])), "when it was purged")


def check_conflicts_are_told(store: Store) -> None:
    """The answer that names another job says if that job is a different call."""
    first = _keyed(arguments='{"n":1}')
    store.add([first])
    others = [
        _keyed(arguments='{"n":1}', queue="other", priority=3),
        _keyed(arguments='{"n":2}'),
        _keyed(arguments='{"n":1}', task="app:other"),
        replace(first, arguments='{"n":2}'),
        first,
    ]
    conflicts = [each.conflict for each in store.add(others)]
    expect([False, True, True, True, False], conflicts, "conflicts while it waits")
    join(store, "ann")
    end(store, claim_of(store, first), Completed())
    ended = [replace(each, unique_ended=True) for each in others]
    conflicts = [each.conflict for each in store.add(ended)]
    expect([False, True, True, True, False], conflicts, "conflicts when it has ended")


def check_an_id_goes_before_a_key(store: Store) -> None:
    """A job with a known id is named itself, even if another job has its key by now."""
    attempt = running(store, unique_key="k")
    end(store, attempt, Completed())
    store.add([_keyed()])
    expect([Added(attempt.id, False)], list(store.add([_keyed(id=attempt.id)])), "answers")


def check_followers_of_what_was_not_added(store: Store) -> None:
    """The follower of a job that was not added follows, and stops with, the existing one."""
    first = running(store, unique_key="k")
    again = _keyed()
    second = a_job(after=again.id)
    third = a_job(after=second.id)
    expect([False, True, True], added(store, [again, second, third]), "added")
    expect(
        [first.id, second.id], [record(store, each.id).after for each in (second, third)], "after"
    )
    expect([], list(claim(store)), "claims while it runs")
    end(store, first, Failed("error"))
    expect([JobState.CANCELLED] * 2, states(store, [second, third]), "states after it has failed")


def check_followers_of_what_a_batch_adds_once(store: Store) -> None:
    """The follower of a job that was not added follows the one of the same batch with its key."""
    first, again = a_job(unique_key="k"), a_job(unique_key="k")
    last = a_job(after=again.id)
    store.add([first, replace(again, after=first.id), last])
    expect(first.id, record(store, last.id).after, "after")
    join(store, "ann")
    end(store, claim_of(store, first), Completed())
    expect([last.id], ids(claim(store)), "claims")


def check_what_was_not_added_leaves_no_gap(store: Store) -> None:
    """In a chain whose middle job was not added, the last follows, and stops with, the first."""
    join(store, "ann")
    store.add([other := _keyed(run_at=FUTURE)])
    first = a_job()
    again = _keyed(after=first.id)
    last = a_job(after=again.id)
    expect([True, False, True], added(store, [first, again, last]), "added")
    expect(first.id, record(store, last.id).after, "what the last one follows")
    attempt = claim_of(store, first)
    expect([], list(claim(store)), "claims while the first one runs")
    end(store, attempt, Failed("error"))
    expect([JobState.QUEUED, JobState.CANCELLED], states(store, [other, last]), "states")


def check_what_was_not_added_behind_what_has_ended(store: Store) -> None:
    """If the first job of such a chain has ended, the last follows the existing job."""
    attempt = running(store)
    end(store, attempt, Completed())
    store.add([other := _keyed(run_at=FUTURE)])
    again = _keyed(after=attempt.id)
    last = a_job(after=again.id)
    expect([False, True], added(store, [again, last]), "added")
    expect(other.id, record(store, last.id).after, "what the last one follows")
    expect([], list(claim(store)), "claims while the other one waits")


def check_a_shared_job_is_not_discarded(store: Store) -> None:
    """A held job that was also returned to another request is released by `discard`, and runs."""
    join(store, "ann", "bob")
    alone, job = a_job(held=True), _keyed(held=True)
    store.add([alone, job], held_by="ann")
    expect([Added(job.id, False)], list(store.add([_keyed(request_id="another")])), "answers")
    store.discard([held_claim(each, "ann", PAST) for each in (alone, job)])
    expect([None, JobState.QUEUED], states(store, [alone, job]), "states")
    expect([job.id], ids(claim(store, "bob")), "claims")


def check_a_shared_job_is_not_cancelled(store: Store) -> None:
    """Nor does `discard` with a reason cancel it, as it does other jobs."""
    join(store, "ann", "bob")
    alone, job = a_job(held=True), _keyed(held=True)
    store.add([alone, job], held_by="ann")
    store.add([_keyed(request_id="another")])
    store.discard([held_claim(each, "ann", PAST) for each in (alone, job)], "it stops here")
    expect([JobState.CANCELLED, JobState.QUEUED], states(store, [alone, job]), "states")
    expect("it stops here", record(store, alone.id).error, "the reason")
    expect([job.id], ids(claim(store, "bob")), "claims")


def check_no_failure_before_a_shared_job_stops_it(store: Store) -> None:
    """A shared job waits for its predecessor, and runs even if that fails, as do its followers."""
    attempt = running(store)
    job = _keyed(after=attempt.id)
    alone = a_job(after=attempt.id)
    store.add([job, alone])
    store.add([_keyed(request_id="another")])
    expect([], list(claim(store)), "claims while the first one runs")
    end(store, attempt, Failed("error"))
    expect([JobState.QUEUED, JobState.CANCELLED], states(store, [job, alone]), "states")
    expect([job.id], ids(claim(store)), "claims")


def check_followers_of_what_has_ended(store: Store) -> None:
    """The follower of a job that was not added because of an ended one is ready."""
    _ended(store)
    again = _keyed(unique_ended=True)
    second = a_job(after=again.id)
    expect([False, True], added(store, [again, second]), "added")
    expect([second.id], ids(claim(store)), "claims")


def check_a_child_may_have_the_key_of_its_parent(store: Store) -> None:
    """Jobs added after the end of a job, in the same transaction, may have its key."""
    attempt = running(store, unique_key="k")
    job = _keyed()
    with store.transaction():
        end(store, attempt, Completed())
        expect([True], added(store, [job]), "added")
    expect(job.id, _id_with_key(store), "who has the key")


def _id_with_key(store: Store, *, ended: bool = False) -> str | None:
    found = store.with_key("k", ended=ended)
    return found.id if found else None


def check_with_key(store: Store) -> None:
    """`with_key` finds the unfinished job with a key, or else the one that ended last."""
    expect((None, None), (_id_with_key(store), _id_with_key(store, ended=True)), "at first")
    _ended(store, "ann")
    latest = _ended(store, "bob")
    expect((None, latest), (_id_with_key(store), _id_with_key(store, ended=True)), "ended")
    store.add([job := _keyed()])
    expect((job.id, job.id), (_id_with_key(store), _id_with_key(store, ended=True)), "unfinished")
    expect(None, store.with_key("'; --", ended=True), "a strange key")


# ---------------------------------------------------------------------- after one that is to end


def _to_end(store: Store, worker: str = "ann", **changes: object) -> Claim:
    """Run a job with the key, and ask it to end."""
    attempt = running(store, worker, **{"unique_key": "k", **changes})
    store.cancel([attempt.id], "not wanted")
    return attempt


def check_a_key_is_free_when_its_job_is_to_end(store: Store) -> None:
    """Once a running job is asked to end, the next job with its key is added, and waits."""
    join(store, "bob")
    for outcome in (*_FINAL, RetryAt(0.0, "error"), Released()):
        old = _to_end(store, new_id())
        job, other = _keyed(), _keyed()
        expect([Added(job.id, True)], list(store.add([job])), "the next one")
        expect([Added(job.id, False)], list(store.add([other])), "the one after that")
        expect(job.id, _id_with_key(store), "who has the key")
        expect([], list(claim(store, "bob")), f"claims before {outcome}")
        expect(True, end(store, old, outcome), f"{outcome} is accepted")
        got = claim_of(store, job, "bob")
        expect(True, end(store, got, Completed()), "the next one ends")


def check_the_end_of_one_that_was_to_end_is_told(store: Store) -> None:
    """The end of a job that was asked to end is reported to listeners."""
    ways: dict[str, Callable[[Claim], object]] = {
        "settle": lambda old: end(store, old, Cancelled("not wanted")),
        "release": lambda old: store.release([Putback(old)]),
        "recover": lambda old: lose(store, old),
    }
    for what, way in ways.items():
        old, other = _to_end(store, new_id()), new_id()
        store.add([job := _keyed()])
        join(store, other)
        expect([], all_claims(store, other), "claims before its end")
        way(old)
        expect(True, store.changed(), f"changed after {what}")
        end(store, claim_of(store, job, other), Completed())


def check_a_held_job_waits_for_one_that_is_to_end(store: Store) -> None:
    """A held job waits for it, too, and its holder learns that it must be claimed."""
    old = _to_end(store)
    job, other = _keyed(held=True), a_job(held=True)
    answers = list(store.add([job, other], held_by="ann"))
    expect([Added(job.id, True, waits=True), Added(other.id, True)], answers, "answers")
    held = held_claim(job, "ann", PAST, waits=True)
    expect(True, held.limited, "it has to be claimed")
    store.release([Putback(held)])
    expect([], list(claim(store)), "claims before the end")
    end(store, old, Cancelled("not wanted"))
    got = claim_of(store, job)
    expect(1, got.attempt, "the attempt")
    store.cancel([got.id], "not wanted")
    store.add([again := _keyed(held=True)], held_by="ann")
    store.cancel([again.id], "not wanted")
    expect(2, len(store.cancelling("ann")), "two that are to end")
    expect([True], added(store, [_keyed()]), "the next one")


def check_one_that_is_to_end_and_the_order_of_requests(store: Store) -> None:
    """A job that also has a predecessor waits for both."""
    old = _to_end(store)
    first = a_job()
    second = _keyed(after=first.id)
    third = a_job(after=second.id)
    store.add([first, second, third])
    end(store, claim_of(store, first), Completed())
    expect([], list(claim(store)), "claims when the predecessor has ended")
    end(store, old, Cancelled("not wanted"))
    expect([second.id], ids(claim(store)), "claims when both have ended")


def check_a_retried_job_waits_for_one_that_is_to_end(store: Store) -> None:
    """A job that is retried by hand takes the key, and waits its turn."""
    job_id = _ended(store, "bob")
    old = _to_end(store)
    expect([True], list(store.retry([job_id])), "retried")
    expect(job_id, _id_with_key(store), "who has the key")
    expect([], list(claim(store)), "claims before the end")
    end(store, old, Cancelled("not wanted"))
    expect([job_id], ids(claim(store)), "claims")


def check_repeated_requests_find_one_that_is_to_end(store: Store) -> None:
    """A job with `unique_ended` is not added beside one that was asked to end, either."""
    old = _to_end(store)
    job = _keyed(unique_ended=True)
    second = a_job(after=job.id)
    expect([Added(old.id, False), Added(second.id, True)], list(store.add([job, second])), "added")
    expect(old.id, record(store, second.id).after, "whom the second follows")
    expect(None, _id_with_key(store), "who has the key")
    expect(old.id, _id_with_key(store, ended=True), "who has it, or has had it")
    store.add([later := _keyed()])
    expect([Added(later.id, False)], list(store.add([job])), "when there is a later one")


def check_the_job_that_is_there_is_told(store: Store) -> None:
    """Adding a job that exists already returns what the store has of it."""
    attempt = running(store, unique_key="k")
    (answer,) = store.add([_keyed()])
    expect(record(store, attempt.id), answer.found, "found by its key")
    end(store, attempt, Completed('"result"'))
    (answer,) = store.add([_keyed(unique_ended=True)])
    expect(record(store, attempt.id), answer.found, "found when it has ended")
    (answer,) = store.add([a_job(id=attempt.id)])
    expect(record(store, attempt.id), answer.found, "found by its id")
    (answer,) = store.add([a_job()])
    expect(None, answer.found, "a new one")


# ---------------------------------------------------------------------- retried and restored


def check_retry_keeps_the_key(store: Store) -> None:
    """A job that is retried by hand has its key again."""
    job_id = _ended(store)
    store.retry([job_id])
    expect(job_id, _id_with_key(store), "who has the key")
    expect([False], added(store, [_keyed()]), "added")


def check_retry_when_the_key_is_taken(store: Store) -> None:
    """A job whose key has been taken by a later one is retried without it."""
    first, second = _ended(store, "ann"), _ended(store, "bob")
    store.add([third := _keyed()])
    expect([True, True], list(store.retry([first, second])), "retried")
    expect(third.id, _id_with_key(store), "who has the key")
    expect([None, None], [record(store, each).unique_key for each in (first, second)], "keys")
    expect(3, len(claim(store)), "claims")


def check_retry_of_several_with_one_key(store: Store) -> None:
    """Of several jobs that are retried together, one gets the key."""
    jobs = [_ended(store, worker) for worker in ("ann", "bob", "cid")]
    expect([True] * 3, list(store.retry(jobs)), "retried")
    keys = sorted(str(record(store, each).unique_key) for each in jobs)
    expect(["None", "None", "k"], keys, "keys")


def check_restore_when_the_key_is_taken(store: Store) -> None:
    """Of unfinished jobs with one key, the existing one keeps it, or else one that is restored."""
    store.add([_keyed(run_at=FUTURE)])
    (model,) = store.find()
    copies = [replace(model, id=new_id()) for _ in range(2)]
    expect([True, True], list(store.restore(copies)), "restored")
    expect(model.id, _id_with_key(store), "who has the key")
    others = [replace(model, id=new_id(), unique_key="other") for _ in range(2)]
    expect([True, True], list(store.restore(others)), "restored with another key")
    keys = sorted(str(record(store, each.id).unique_key) for each in others)
    expect(["None", "other"], keys, "keys")


def check_a_key_that_was_rolled_back_is_free(store: Store) -> None:
    """A job added in a transaction that failed does not take its key."""
    try:
        with store.transaction():
            store.add([_keyed()])
            raise _Broken
    except _Broken:
        pass
    expect([True], added(store, [_keyed()]), "added")


class _Broken(Exception):
    """Raised inside a transaction."""
