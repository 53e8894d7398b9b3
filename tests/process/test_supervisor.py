"""The parent of worker processes: real parents, real children and real signals."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from afterword.process import supervisor
from afterword.process.supervisor import After, Supervisor, after, describe
from afterword.process.watchdog import EXIT_CODE, Watchdog
from tests import warm
from tests.helpers import wait_until

PARENT = """
import os, sys, threading, time
from afterword.process.supervisor import Supervisor
child, processes, reload = sys.argv[1:]
parent = Supervisor([sys.executable, "-c", child], int(processes), print, reload == "1")
def change():
    while not os.path.exists("changed"):
        time.sleep(0.02)
    parent.changed(["main.py"])
if reload == "1":
    threading.Thread(target=change, daemon=True).start()
sys.exit(parent.run())
"""
# A child that runs until its lifeline is cut, and notes it.
LIVES = """
import os, threading
from afterword.process import lifeline
def note(word):
    with open("ledger", "a") as ledger:
        ledger.write(f"{word} {os.getpid()}\\n")
cut = threading.Event()
lifeline.on_cut(cut.set)
note("start")
cut.wait()
note("drained")
"""
STUBBORN = "open('ledger', 'a').write('start 0\\n')\nimport time\ntime.sleep(60)"


class Parent:
    """A supervisor in its own process."""

    def __init__(self, folder: Path, child: str, processes: int, *, reload: bool) -> None:
        self.ledger = folder / "ledger"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = warm.Popen(
                [sys.executable, "-u", "-c", PARENT, child, str(processes), str(int(reload))],
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def noted(self, word: str) -> list[int]:
        """Return the processes that have written this word, in order."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        lines = [line.split() for line in text.splitlines()]
        return [int(pid) for what, pid in lines if what == word]

    def wait_noted(self, word: str, number: int) -> list[int]:
        """Wait until this number of processes has written it."""
        wait_until(
            lambda: len(self.noted(word)) >= number,
            description=f"{number} times {word!r}; see {self.log}",
        )
        return self.noted(word)

    def wait_told(self, words: str, number: int) -> None:
        """Wait until it has printed this line so many times."""
        wait_until(
            lambda: self.log.read_text().count(words) >= number,
            description=f"{number} times {words!r}; see {self.log}",
        )

    def ends(self) -> int:
        """Wait until it ends; returns its exit code."""
        return self.process.wait(60)


@contextmanager
def supervising(
    folder: Path, child: str, processes: int = 1, *, reload: bool = False
) -> Iterator[Parent]:
    parent = Parent(folder, child, processes, reload=reload)
    try:
        yield parent
    finally:
        parent.process.kill()
        parent.process.wait()


def test_all_children_are_started_and_drained(tmp_path: Path) -> None:
    with supervising(tmp_path, LIVES, 3) as parent:
        started = parent.wait_noted("start", 3)
        parent.process.terminate()

        assert 0 == parent.ends()
        assert sorted(started) == sorted(parent.noted("drained"))


def test_a_killed_child_is_replaced(tmp_path: Path) -> None:
    with supervising(tmp_path, LIVES, 2) as parent:
        first = parent.wait_noted("start", 2)[0]
        os.kill(first, signal.SIGKILL)
        parent.wait_noted("start", 3)
        parent.process.terminate()

        assert 0 == parent.ends()
        assert "ended: SIGKILL; it starts again in 0.1 s" in parent.log.read_text()


def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with supervising(tmp_path, LIVES, 2) as parent:
        started = parent.wait_noted("start", 2)
        parent.process.kill()

        assert sorted(started) == sorted(parent.wait_noted("drained", 2))


def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    with supervising(tmp_path, STUBBORN, 2) as parent:
        parent.wait_noted("start", 2)
        parent.process.send_signal(signal.SIGINT)
        parent.wait_told("SIGINT", 1)
        parent.process.send_signal(signal.SIGINT)

        assert 130 == parent.ends()


def test_a_second_sigterm_changes_nothing(tmp_path: Path) -> None:
    gate = "import time\nwhile not os.path.exists('gate'):\n    time.sleep(0.02)\n"
    slow = f"{LIVES}{gate}note('late')"
    with supervising(tmp_path, slow) as parent:
        parent.wait_noted("start", 1)
        parent.process.terminate()
        parent.wait_noted("drained", 1)
        parent.process.terminate()
        (tmp_path / "gate").touch()

        assert 0 == parent.ends()
        assert 1 == len(parent.noted("late"))


def test_a_drain_that_fails_is_told(tmp_path: Path) -> None:
    with supervising(tmp_path, f"{LIVES}raise SystemExit(7)", 2) as parent:
        parent.wait_noted("start", 2)
        parent.process.terminate()

        assert 1 == parent.ends()


def test_wrong_usage_ends_them_all(tmp_path: Path) -> None:
    with supervising(tmp_path, "raise SystemExit(2)", 2) as parent:
        assert 2 == parent.ends()


def test_delays_grow(tmp_path: Path) -> None:
    with supervising(tmp_path, "raise SystemExit(1)") as parent:
        parent.wait_told("in 0.8 s", 1)
        parent.process.terminate()

        assert 0 == parent.ends()
        delays = [f"exit code 1; it starts again in {delay} s" for delay in (0.1, 0.2, 0.4, 0.8)]
        assert delays == [
            line.partition("ended: ")[2] for line in parent.log.read_text().splitlines()
            if "again" in line
        ][:4]  # fmt: skip


def test_a_change_drains_and_restarts(tmp_path: Path) -> None:
    with supervising(tmp_path, LIVES, reload=True) as parent:
        parent.wait_noted("start", 1)
        (tmp_path / "changed").touch()
        first, second = parent.wait_noted("start", 2)
        parent.process.terminate()

        assert 0 == parent.ends()
        assert [first, second] == parent.noted("drained")


def test_a_child_with_a_mistake_waits_for_a_change(tmp_path: Path) -> None:
    child = "open('ledger', 'a').write('start 0\\n')\nraise SystemExit(1)"
    with supervising(tmp_path, child, reload=True) as parent:
        parent.wait_told("again after a change", 1)
        (tmp_path / "changed").touch()
        parent.wait_told("again after a change", 2)
        parent.process.terminate()

        assert 0 == parent.ends()
        assert 2 == len(parent.noted("start"))


def test_a_command_that_cannot_run_is_tried_again(tmp_path: Path) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        if not told:
            os.kill(os.getpid(), signal.SIGTERM)
        told.append(line)

    missing = Supervisor([str(tmp_path / "missing")], 1, tell)

    assert 0 == missing.run()
    assert "could not be started" in told[0]


def supervised(
    child: str, processes: int, reported: bool = False, **options: Any
) -> tuple[int, list[str]]:
    """Run a supervisor in this process until a SIGTERM; returns its exit code and its log.

    Args:
        reported: send the SIGTERM once all children have reported their grace times.
    """
    told: list[str] = []
    parent = Supervisor([sys.executable, "-c", child], processes, told.append, **options)

    def are_up() -> bool:
        up = [each for each in parent._children if each.process and (each.grace or not reported)]
        return len(up) == processes

    def end() -> None:
        wait_until(are_up, description="all children run")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end).start()
    return parent.run(), told


def test_a_child_that_hangs_at_its_start_is_killed_when_the_grace_time_is_over() -> None:
    code, told = supervised("import time; time.sleep(600)", 2, grace=0.3)

    assert 1 == code
    assert 2 == sum("was still starting" in line and "it is killed" in line for line in told)
    assert 2 == sum("ended: SIGKILL" in line for line in told)


DRAINS_SLOWLY = """
import threading, time
from afterword.process import lifeline
cut = threading.Event()
lifeline.on_cut(cut.set)
lifeline.report(grace=GRACE)
cut.wait()
time.sleep(1.0)
"""


def test_the_grace_time_of_a_child_is_the_one_it_has_reported() -> None:
    code, told = supervised(DRAINS_SLOWLY.replace("GRACE", "60"), 1, reported=True, grace=0.0)

    assert 0 == code
    assert not any("killed" in line for line in told)


def test_a_child_that_does_not_end_after_its_grace_time_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "SHUT_DOWN_WITHIN", 0.1)
    child = DRAINS_SLOWLY.replace("GRACE", "0.1").replace("1.0", "600")
    code, told = supervised(child, 1, reported=True, grace=60.0)

    assert 1 == code
    assert any("has not ended" in line and "it is killed" in line for line in told)


def test_the_configuration_error_of_the_children_is_told_once() -> None:
    child = (
        "import sys, threading; from afterword.process import lifeline;"
        "lifeline.on_cut(lambda: None);"
        "lifeline.report(error='no such module'); sys.exit(2)"
    )
    errors: list[str] = []
    parent = Supervisor(
        [sys.executable, "-c", child], 3, tell=lambda line: None, tell_error=errors.append
    )

    assert 2 == parent.run()
    assert ["no such module"] == errors


def test_reports_that_are_none_are_not_heard() -> None:
    child = (
        "import os, threading; from afterword.process import lifeline;"
        "lifeline.on_cut(lambda: None);"
        "os.write(lifeline._reports[0], b'[1]\\n{\\n\\xff\\n5\\n');"
        "lifeline.report(grace='x', error=5);"
        "raise SystemExit(2)"
    )
    errors: list[str] = []
    parent = Supervisor(
        [sys.executable, "-c", child], 1, tell=lambda line: None, tell_error=errors.append
    )

    assert (2, []) == (parent.run(), errors)


@pytest.mark.parametrize(
    ("code", "reload", "expected"),
    [
        (0, False, After.RESTART),
        (1, False, After.RESTART),
        (-9, False, After.RESTART),
        (2, False, After.GIVE_UP),
        (0, True, After.RESTART),
        (-11, True, After.RESTART),
        (1, True, After.WAIT),
        (2, True, After.WAIT),
    ],
)
def test_what_follows_an_unexpected_end(code: int, reload: bool, expected: After) -> None:
    assert expected is after(code, reload)


@pytest.mark.parametrize(
    ("code", "expected"), [(0, "exit code 0"), (-15, "SIGTERM"), (-999, "signal 999")]
)
def test_ends_have_names(code: int, expected: str) -> None:
    assert expected == describe(code)


# ---------------------------------------------------------------------- the watchdog


def test_the_watchdog_is_quiet_while_there_is_a_pulse() -> None:
    barked: list[str] = []
    looks: list[None] = []

    def pulse() -> int:
        looks.append(None)
        return len(looks)

    watchdog = Watchdog(pulse, 0.05, barked.append)
    watchdog.start()
    wait_until(lambda: len(looks) > 30, description="it has looked many times")
    watchdog.stop()

    assert [] == barked


def test_the_watchdog_barks_once() -> None:
    barked: list[str] = []
    watchdog = Watchdog(lambda: 5, 0.1, barked.append)
    watchdog.start()
    wait_until(lambda: barked, description="it barks")

    assert ["The store's thread has been silent for 0.1 s."] == barked


def test_a_stopped_watchdog_does_not_bark() -> None:
    barked: list[str] = []
    watchdog = Watchdog(lambda: 5, 60.0, barked.append)
    watchdog.start()
    watchdog.stop()
    watchdog._thread.join(30)

    assert ([], False) == (barked, watchdog._thread.is_alive())


def test_a_process_whose_store_thread_hangs_ends(tmp_path: Path) -> None:
    """The worker command does the same, but later; here the thread hangs in its step."""
    script = """
import time
from starlette.applications import Starlette
from afterword import Afterword
from afterword.process.watchdog import Watchdog, end_process
import asyncio
async def main():
    afterword = Afterword(Starlette(), "sqlite:///jobs.db", lease=0.5)
    await afterword.start()
    Watchdog(lambda: afterword.pulse, 1.0, lambda line: end_process()).start()
    time.sleep(2)  # a blocked event loop is no reason
    print("alive", flush=True)
    afterword.runtime.group.every(60.0, lambda store: time.sleep(60))
    await asyncio.sleep(60)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (EXIT_CODE, "alive\n") == (done.returncode, done.stdout), done.stderr
