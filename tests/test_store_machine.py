"""Random histories of every store agree with the model; AFTERWORD_EXAMPLES asks for more."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from afterword.testing import store_machine
from tests.stores import MakeStore

EXAMPLES = int(os.environ.get("AFTERWORD_EXAMPLES", "60"))


def test_every_store_agrees_with_the_model(make_store: MakeStore) -> None:
    run_state_machine_as_test(
        store_machine(make_store),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
