"""Functions with `task(func, via=RedisSettings(...))` are handed over to arq."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.fleets.environment import packages
from tests.fleets.servers import Broker, worker
from tests.helpers import ROOT


def test_arq_in_an_environment_of_its_own(redis: Broker, tmp_path: Path) -> None:
    environment = {
        "PYTHONPATH": packages("fleet-arq", "arq>=0.28,<0.29"),
        "FLEET_BROKER": redis.url,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/fleets/arq_cases.py"]
    workers = [f"tests.fleets.arq_site.{name}" for name in ("WorkerSettings", "JsonSettings")]
    with ExitStack() as stack:
        for each in workers:
            stack.enter_context(worker(tmp_path, "arq", each, **environment))
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    assert 0 == ended.returncode, ended.stdout + (tmp_path / "worker.log").read_text()
