"""Forked programs behave like new ones: the same program is started both ways."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.helpers import is_gone, wait_until

LOOK_AROUND = """
import json, os, signal, sys, threading, time
main = sys.modules["__main__"]
streams = [getattr(sys, name) for name in ("stdin", "stdout", "stderr")]
print(json.dumps({
    "arguments": sys.argv,
    "path": sys.path,
    "environment": dict(os.environ),
    "zone": time.tzname,
    "folder": os.getcwd(),
    "parent": os.getppid(),
    "leads": [os.getpid() in (os.getpgrp(), os.getsid(0)), os.getpid() == os.getpgrp()],
    "streams": [[each.encoding, each.errors, each.line_buffering] for each in streams],
    "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "main": [main.__dict__ is globals(), __name__, globals().get("__file__"), str(__spec__)[:20]],
    "threads": [threading.active_count(), threading.get_native_id() == os.getpid()],
    "files": len(os.listdir("/proc/self/fd")),
    "read": sys.stdin.read(),
}))
"""
OPTIONS: list[dict[str, Any]] = [{}, {"start_new_session": True}, {"process_group": 0}]
KILLED = "import os; os.kill(os.getpid(), 9)"
UNCAUGHT = "import atexit; atexit.register(print, 'at exit'); {}"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems start new ones")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module that prints its surroundings."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "looking.py").write_text(LOOK_AROUND)
    return folder


def test_a_program_of_another_release_imports_that_one(tmp_path: Path) -> None:
    (tmp_path / "afterword").mkdir()
    (tmp_path / "afterword" / "__init__.py").touch()
    done = warm.run(
        [sys.executable, "-c", "import afterword; print(afterword.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )

    assert done.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize("program", [["-c", LOOK_AROUND], ["-m", "looking"], ["looking.py"]])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_program_sees_the_same(program: list[str], options: dict[str, Any], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{folder}:elsewhere", "TZ": "Asia/Tokyo"}
    command = [sys.executable, *program, "--an-argument", "é"]
    given = {"cwd": folder, "env": environment, "input": "some text", "text": True, **options}

    new = subprocess.run(command, capture_output=True, check=True, **given)
    forked = warm.run(command, capture_output=True, check=True, **given)

    assert json.loads(new.stdout) == json.loads(forked.stdout)


@pytest.mark.parametrize(
    "end",
    [
        *("pass", "raise SystemExit(7)", "exit('no')", "1 / 0", "raise KeyboardInterrupt", KILLED),
        *("import threading; threading.Timer(0.1, print, ['in a thread']).start()",),
        *("import sys; sys.stdout.close()", "import os; os.close(1); print('to nobody')"),
    ],
)
def test_a_program_ends_in_the_same_way(end: str) -> None:
    command = [sys.executable, "-c", UNCAUGHT.format(end)]

    new = subprocess.run(command, capture_output=True, text=True, check=False)
    forked = warm.run(command, capture_output=True, text=True, check=False)

    last = [done.stderr.splitlines()[-1:] for done in (new, forked)]
    assert (new.returncode, new.stdout, last[0]) == (forked.returncode, forked.stdout, last[1])


@pytest.mark.parametrize("variable", ["", "1"])
@pytest.mark.parametrize("options", [[], ["-u"]])
def test_what_is_buffered_is_buffered(options: list[str], variable: str) -> None:
    code = "import os; print('shown'); os._exit(0)"
    environment = {**os.environ, "PYTHONUNBUFFERED": variable}

    done = warm.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True
    )

    assert ("shown\n" if options or variable else "") == done.stdout


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        warm.run([sys.executable, "-c", "pass"], cwd=tmp_path / "none")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_right_after_the_start_is_not_lost(number: signal.Signals) -> None:
    process = warm.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    process.send_signal(number)

    assert -number == process.wait(60)


def test_a_process_can_be_stopped_and_go_on() -> None:
    with warm.Popen(
        [sys.executable, "-c", "print(input())"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        process.send_signal(signal.SIGCONT)

        assert "goes on\n" == process.communicate("goes on")[0]
    wait_until(lambda: is_gone(process.pid), description="no process is left")


def test_another_interpreter_is_a_new_process() -> None:
    """This holds for other options, and for variables that it reads when it starts."""
    code = "import sys; print(sys.flags.optimize, sys.flags.dev_mode)"

    with_option = warm.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    environment = {**os.environ, "PYTHONDEVMODE": "1"}
    with_variable = warm.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )

    assert ("1 False\n", "0 True\n") == (with_option.stdout, with_variable.stdout)
