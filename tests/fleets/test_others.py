"""Tasks of systems without hand-over: refused, and their bodies do not run."""

import os
import subprocess
import sys

from tests.fleets.environment import packages
from tests.helpers import ROOT

OTHERS = ("huey>=3,<4", "taskiq>=0.11,<1", "procrastinate>=3,<4")


def test_taskiq_huey_and_procrastinate_are_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/fleets/others_cases.py"],
        cwd=ROOT,
        env={**os.environ, "FLEET_PACKAGES": packages("fleet-others", *OTHERS)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout
