"""The contract of `Store.open`, `close` and `transaction`: durability and atomicity."""

from afterword.errors import StoreError
from afterword.model.job import JobState
from afterword.model.outcome import Completed
from afterword.store.protocol import Putback, Store, held_claim
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


class _Broken(Exception):
    """Raised inside a transaction."""


def check_the_store_tells_what_it_is(store: Store) -> None:
    """A store has a URL, and states what its committed jobs survive."""
    expect(True, "://" in store.url, f"{store.url!r} is a URL")
    expect(True, store.durability in ("power-loss", "process-crash"), store.durability)


def check_jobs_outlive_the_connection(store: Store) -> None:
    """Committed jobs exist when the store is opened again."""
    attempt = running(store)
    end(store, attempt, Completed())
    job = a_job()
    store.add([job])
    store.close()
    store.open()
    expect(JobState.COMPLETED, state(store, attempt.id), "the ended job")
    expect(JobState.QUEUED, state(store, job.id), "the queued job")


def check_close_is_harmless(store: Store) -> None:
    """Closing a closed store is a no-op."""
    store.close()
    store.close()
    store.open()
    expect(0, sum(store.count().values()), "jobs")


def check_a_closed_store_says_so(store: Store) -> None:
    """Verbs of a closed store raise StoreError."""
    store.close()
    for what, call in (("add", lambda: store.add([a_job()])), ("count", store.count)):
        try:
            call()
        except StoreError:
            continue
        raise AssertionError(f"{what}: expected StoreError from a closed store")


def check_transaction_keeps_all(store: Store) -> None:
    """Verbs in a transaction see each other's changes, and are committed together."""
    join(store, "ann")
    job = a_job(held=True)
    with store.transaction():
        store.add([job], held_by="ann")
        expect(True, end(store, held_claim(job, "ann", PAST), Completed()), "settled")
    expect(JobState.COMPLETED, state(store, job.id), "state")


def check_transaction_drops_all(store: Store) -> None:
    """An exception in a transaction undoes every verb in it."""
    join(store, "ann")
    given_back, ended, discarded, waiting = (a_job() for _ in range(4))
    store.add([given_back, ended, discarded])
    claims = {each.id: each for each in claim(store)}
    store.add([waiting])
    before = sorted(store.find(), key=lambda each: each.id)
    try:
        with store.transaction():
            store.join("bob", LONG)
            store.add([a_job()])
            store.release([Putback(claims[given_back.id], LONG)])
            store.discard([claims[discarded.id]])
            end(store, claims[ended.id], Completed())
            claim(store, "bob")
            store.purge(0.0, BATCH)
            store.leave("ann")
            raise _Broken
    except _Broken:
        pass
    expect(before, sorted(store.find(), key=lambda each: each.id), "all jobs")
    expect((True, False), (store.renew("ann", LONG), store.renew("bob", LONG)), "members")


def check_recovery_is_undone_as_well(store: Store) -> None:
    """An exception after `recover` undoes it, so that the jobs can be recovered again."""
    attempt = running(store)
    store.leave("ann")
    try:
        with store.transaction():
            store.recover(BATCH, LONG)
            raise _Broken
    except _Broken:
        pass
    expect(JobState.RUNNING, state(store, attempt.id), "state")
    expect([attempt.id], [each.id for each in store.recover(BATCH, LONG)], "recovered")


def check_transactions_nest(store: Store) -> None:
    """A transaction inside another one is part of it."""
    try:
        with store.transaction():
            with store.transaction():
                store.add([a_job()])
            raise _Broken
    except _Broken:
        pass
    expect(0, sum(store.count().values()), "jobs")


def check_the_store_works_after_an_error(store: Store) -> None:
    """A store still works after a refused verb and a failed transaction."""
    join(store, "ann")
    for bad in (a_job(task=""), a_job(arguments="{")):
        try:
            with store.transaction():
                store.add([bad])
        except StoreError:
            continue
        raise AssertionError("expected StoreError for nonsense in a transaction")
    job = a_job()
    store.add([job])
    expect([job.id], ids([claim_of(store, job)]), "claimed")
    expect(1, record(store, job.id).attempt, "attempt")
