"""Jobs added in one process and run in another: dependencies are made where the task runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afterword.client.handle import ProgressRecord
from afterword.model.job import JobState
from afterword.store.opening import open_store
from tests import warm
from tests.helpers import ROOT, wait_until

SITE = "tests.injection.elsewhere_site"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of both processes."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "LEDGER": str(tmp_path / "ledger")}


@contextmanager
def worker(folder: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `afterword worker`, and kill it afterwards."""
    with (folder / "log").open("wb") as log:
        process: subprocess.Popen[bytes] = warm.Popen(
            [sys.executable, "-m", "afterword", "worker", f"{SITE}:app"],
            cwd=folder,
            env=environment,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines(folder: Path) -> list[list[str]]:
    file = folder / "ledger"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_a_job_is_stored_here_and_runs_in_another_process(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The worker enters the application's lifespan, and drains before containers close."""
    command = [sys.executable, "-c", f"from {SITE} import add_all; add_all()"]
    ids = subprocess.check_output(command, cwd=tmp_path, env=environment).decode().split()
    before = lines(tmp_path)
    with worker(tmp_path, environment) as process:
        wait_until(
            lambda: any("begun" in line for line in lines(tmp_path)),
            description=f"the last task has begun; see {tmp_path / 'log'}",
            timeout=30,
        )
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    store = open_store(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.open()
    records = {each.id: each for each in store.get(ids)}
    store.close()

    here, pid = lines(tmp_path)[len(before) :], str(process.pid)
    assert {"over"} == {line[-1] for line in before}  # no task ran there, no dependency was made
    assert [JobState.COMPLETED] * 4 == [records[each].state for each in ids]
    assert [
        [pid, "by_wireup", "sent", "to", "ada", ids[0], "1"],
        [pid, "by_depends", "bob", f"pool-of-{pid}", ids[1], "1"],
        ["by_process", "cleo", ids[2], "1"],
        [pid, "slowly", "begun"],
        [pid, "slowly", "sent", "to", "dan"],
        [pid, "lifespan", "over"],
        [pid, "mailer", "closed"],
    ] == [line[1:] if line[1] == "by_process" else line for line in here]
    assert pid not in [line[0] for line in here if line[1] == "by_process"]
    progress = ProgressRecord.read(records[ids[2]].progress)
    assert ProgressRecord(1, 2, "half of cleo") == progress
    assert 0 == code
