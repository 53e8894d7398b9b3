"""`scripts/stops`: processes of tests are found, stopped, and continued."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.stops import family, stopped
from tests import warm
from tests.helpers import wait_until

PARENT = """
import subprocess, sys
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
"""


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[str]"]:
    """A process that has a child, in another session, whose number it has printed."""
    command = [sys.executable, "-c", PARENT]
    with warm.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def state(pid: int) -> str:
    """The letter of the process's state; T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_family_is_stopped_and_continued(parent: "subprocess.Popen[str]") -> None:
    assert parent.stdout
    child = int(parent.stdout.readline())
    pids = family(parent.pid)
    with stopped([*pids, 2**22 + 1]):  # the last one has ended meanwhile
        wait_until(lambda: {state(pid) for pid in pids} == {"T"}, description="both are stopped")
    wait_until(lambda: "T" not in map(state, pids), description="both go on")

    assert [parent.pid, child] == pids
