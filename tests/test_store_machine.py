"""Random histories of the SQLite store agree with the model; AFTERWORD_EXAMPLES asks for more."""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from afterword.job import new_id
from afterword.stores.sqlite import SQLiteStore
from afterword.testing import store_machine

EXAMPLES = int(os.environ.get("AFTERWORD_EXAMPLES", "60"))


def test_sqlite_agrees_with_the_model() -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = store_machine(lambda: SQLiteStore(Path(folder) / f"{new_id()}.db"))
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
