"""The contract of `afterword.testing` for each store."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from afterword.model.job import NewJob, new_id
from afterword.store.protocol import Added, Settlement
from afterword.store.sqlite import SQLiteStore
from afterword.testing import CHECKS, Check, check_store, run_check
from tests.stores import KINDS, MakeStore, new_file, stores_in, stores_on


@pytest.fixture(params=KINDS)
def make_new(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """A factory of stores of each kind; on PostgreSQL, in a database with unusual settings.

    A store sets everything that it depends on, so the results also hold for a plain database, which
    nearly every other test uses.
    """
    if request.param != "postgres":
        return stores_in(tmp_path, request.param)
    return stores_on(request.getfixturevalue("server"), request.getfixturevalue("hostile_url"))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_store_keeps_the_contract(check: Check, make_new: MakeStore) -> None:
    run_check(check, make_new)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_each_check_states_its_contract(check: Check) -> None:
    assert check.__doc__
    assert check.__doc__.endswith(".")


class Forgetful(SQLiteStore):
    """A store that breaks the contract: it accepts every outcome, and takes every job for new."""

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        super().settle(settlements)
        return [True for _ in settlements]

    def add(self, jobs: Sequence[NewJob], held_by: str | None = None) -> Sequence[Added]:
        super().add(jobs, held_by)
        return [Added(job.id, True) for job in jobs]


def test_check_store_names_what_is_broken(tmp_path: Path) -> None:
    def forgetful() -> Forgetful:
        path = tmp_path / f"{new_id()}.db"
        new_file(path)
        return Forgetful(path)

    with pytest.raises(ExceptionGroup) as caught:
        check_store(forgetful)

    assert "check_settle_is_fenced" in str(caught.value)
    assert "check_add_is_idempotent_after_the_end" in str(caught.value)
    assert "check_claim_order" not in str(caught.value)
