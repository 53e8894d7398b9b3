"""The record of attempts: a job that is retried without end keeps only the last ones."""

import pytest

from afterword.model.outcome import Released, RetryAt
from afterword.store import parts, postgres, sqlite
from afterword.store.protocol import Settlement, Store
from afterword.testing.kit import a_job, claim, join, lose
from tests.stores import MakeStore

KEPT = 3
assert KEPT < parts.ATTEMPTS_KEPT


@pytest.fixture
def store(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(sqlite.settling, "ATTEMPTS_KEPT", KEPT)
    monkeypatch.setattr(postgres.settling, "ATTEMPTS_KEPT", KEPT)
    return make_store()


def test_the_last_attempts_are_kept_however_they_ended(store: Store) -> None:
    store.open()
    join(store, "ann")
    job, other = a_job(), a_job(queue="another")
    store.add([job, other])
    for number in range(2 * KEPT):
        (attempt,) = claim(store, "ann")
        outcome = RetryAt(0.0, "error") if number % 2 else Released()
        assert [True] == list(store.settle([Settlement(attempt, outcome, log="a line")]))

    numbers = [each.attempt for each in store.attempts(job.id)]
    assert [4, 5, 6] == numbers == list(store.logs(job.id))
    assert [] == list(store.attempts(other.id))
    (attempt,) = claim(store, "ann")
    lose(store, attempt)

    assert [5, 6, 7] == [each.attempt for each in store.attempts(job.id)]
    store.close()
