"""Ids in fleets: one for each job over all attempts, and another one after a person's retry."""

from collections.abc import Callable

import pytest

from afterword.fleets.remote import fleet_id
from afterword.model.outcome import HandedOver, Released, RetryAt
from afterword.store.protocol import Claim, Putback, Store
from afterword.testing.kit import a_job, claim, end, join, lose, options
from tests.stores import MakeStore


def _leave_behind(store: Store, attempt: Claim) -> None:
    """Shut the worker down without ending the job."""
    store.retire(attempt.worker)
    lose(store, attempt)


ENDS: dict[str, Callable[[Store, Claim], object]] = {
    "fails": lambda store, attempt: end(store, attempt, RetryAt(0.0, "no answer")),
    "is interrupted": lambda store, attempt: end(store, attempt, Released()),
    "is not started": lambda store, attempt: store.release([Putback(attempt)]),
    "is put back": lambda store, attempt: store.release([Putback(attempt, reason="unknown")]),
    "is lost": lose,
    "is left behind": _leave_behind,
}


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()


def sent_as(attempt: Claim) -> str:
    counts = (attempt.failures, attempt.lost, attempt.interrupted)
    return fleet_id(attempt.id, attempt.attempt, *counts)


def test_the_id_is_the_same_in_all_attempts_of_a_life(store: Store) -> None:
    store.open()
    job = a_job(options=options(on_crash="always"))
    store.add([job])
    number = 0

    def next_attempt() -> Claim:
        nonlocal number
        number += 1
        join(store, f"worker-{number}")
        (found,) = claim(store, f"worker-{number}")
        return found

    for life in range(3):
        ids = set[str]()
        for finish in ENDS.values():
            attempt = next_attempt()
            ids.add(sent_as(attempt))
            finish(store, attempt)
        last = next_attempt()
        ids.add(sent_as(last))
        end(store, last, HandedOver())

        assert 1 == len(ids), f"life {life}: {ids}"
        assert (ids == {job.id}) is (life == 0)
        assert [True] == list(store.retry([job.id]))
    store.close()
