"""Run tests while their processes are stopped at random: tests that assume speed then fail.

Every second or so, one or all of the tests' Python processes get SIGSTOP, and 0.8 s
later SIGCONT, as if a very busy machine did not run them, many times a minute.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NAMES = ("python", "pytest", "afterword", "uvicorn")  # beginnings of names of processes


def main(arguments: Sequence[str]) -> int:
    """Run pytest with the arguments that are not ours; returns its exit status."""
    parser = argparse.ArgumentParser(prog="scripts/stops", description=__doc__)
    parser.add_argument("--seed", type=int, help="decides the stops (default: random)")
    parser.add_argument("--seconds", type=float, default=0.8, help="of each stop (%(default)s)")
    parser.add_argument(
        "--pause", type=float, default=1.2, help="seconds between stops, on average (%(default)s)"
    )
    ours, tests = parser.parse_known_args(arguments)
    seed = random.randrange(10_000) if ours.seed is None else ours.seed
    command = [sys.executable, "-m", "pytest", *tests]
    with subprocess.Popen(command) as process:  # noqa: S603 - our own
        stops = stop_at_random(process, random.Random(seed), ours.seconds, ours.pause)
    print(f"{stops} stops of {ours.seconds} s, seed {seed}", flush=True)
    return process.returncode


def stop_at_random(
    process: "subprocess.Popen[bytes]", dice: random.Random, seconds: float, pause: float
) -> int:
    """Stop and continue descendants of a process until it ends; returns the number of stops."""
    stops = 0
    while not _ends_within(process, dice.uniform(0.0, 2 * pause)):
        pids = [pid for pid in family(process.pid) if _may_be_stopped(pid)]
        if pids:
            with stopped(pids if dice.random() < 0.3 else [dice.choice(pids)]):
                time.sleep(seconds)
            stops += 1
    return stops


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Stop these processes during the block."""
    _send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pids, signal.SIGCONT)


def family(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    found = [pid]
    for each in found:  # it grows during the loop
        with contextlib.suppress(OSError):  # it has ended
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def _ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def _may_be_stopped(pid: int) -> bool:
    """Return True if it runs Python; a test that has stopped it continues it, too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return name.startswith(NAMES) and rest.split()[0] != "T"


def _send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
