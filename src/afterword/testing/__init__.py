"""The contract of every store, as tests that you can run on a store of your own.

    def test_my_store(tmp_path):
        check_store(lambda: MyStore(tmp_path / new_id()))

Each check is a function `check_...(store)` whose docstring is one sentence of the contract.
`CHECKS` has them all, for a test runner that shows them one by one. `store_machine` compares long
random histories with a simple model; it needs Hypothesis. No test runner is imported here. The
checks use the store's own clock, so leases really expire.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from afterword.store.protocol import Store
from afterword.testing import (
    acting,
    adding,
    attempts,
    auditing,
    counting,
    ending,
    keeping,
    keyed,
    knowing,
    limiting,
    looking,
    losing,
    scheduling,
    stopping,
    taking,
)

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

Check = Callable[[Store], None]
MakeStore = Callable[[], Store]

_MODULES = (
    *(keeping, adding, keyed, taking, limiting, ending, attempts, losing, knowing, looking),
    *(counting, auditing, acting, stopping, scheduling),
)
CHECKS: tuple[Check, ...] = tuple(
    function
    for module in _MODULES
    for name, function in vars(module).items()
    if name.startswith("check_")
)


def check_store(make_store: MakeStore) -> None:
    """Run every check, each on a fresh store.

    Args:
        make_store: returns a new, empty store that has not been opened.

    Raises:
        ExceptionGroup: some checks failed; its message names them, its members are their errors.
    """
    failures = [failure for check in CHECKS if (failure := _failure(check, make_store))]
    if failures:
        names = ", ".join(failure.__notes__[0] for failure in failures)
        raise ExceptionGroup(f"the store breaks its contract: {names}", failures)


def run_check(check: Check, make_store: MakeStore) -> None:
    """Run one check on a fresh store."""
    with opened(make_store) as store:
        check(store)


@contextmanager
def opened(make_store: MakeStore) -> Iterator[Store]:
    """Open a fresh store, and close it in the end."""
    store = make_store()
    store.open()
    try:
        yield store
    finally:
        store.close()


def _failure(check: Check, make_store: MakeStore) -> Exception | None:
    try:
        run_check(check, make_store)
    except Exception as error:
        error.add_note(check.__name__)
        return error
    return None


def store_machine(make_store: MakeStore) -> "type[RuleBasedStateMachine]":
    """Make a Hypothesis state machine that compares a store with a model of it.

    Example:
        TestMyStore = store_machine(make_store).TestCase
    """
    from afterword.testing.machine import machine_of

    return machine_of(make_store)
