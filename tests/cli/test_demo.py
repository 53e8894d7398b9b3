"""`afterword demo` for a person, a pipe and a program: a real process and a real crash."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from afterword.demo.load import Answer
from afterword.demo.report import Leftovers, Report, as_json, report
from afterword.model.job import NewJob, new_id
from afterword.model.outcome import Completed
from afterword.store.opening import open_store
from afterword.store.protocol import Settlement, held_claim
from tests import warm
from tests.helpers import wait_until

DEMO = [str(Path(sys.executable).with_name("afterword")), "demo"]
QUICK = ["--answers", "40"]


def run(
    *arguments: str, folder: Path, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the demo with its temporary files in `folder`."""
    return warm.run(
        [*DEMO, *QUICK, *arguments],
        env={**os.environ, "TMPDIR": str(folder), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ---------------------------------------------------------------------- the whole story


def test_a_pipe_gets_the_table_on_stdout_and_the_story_on_stderr(tmp_path: Path) -> None:
    done = run(folder=tmp_path)

    assert 0 == done.returncode, done.stderr
    table = dict(re.findall(r"^(answered|ran|lost) +(\d+)", done.stdout, re.MULTILINE))
    promised = re.search(r"promised (\d+) tasks", done.stdout)
    assert promised is not None
    assert 40 <= int(table["answered"])
    assert promised[1] == table["ran"]
    assert "0" == table["lost"]
    assert "Recovery: the first task ran" in done.stdout
    assert "Killed it (SIGKILL)" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert [] == list(tmp_path.iterdir()), "the temporary directory is gone"


def test_json_is_all_there_is_on_stdout_and_the_folder_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "crash"

    done = run("--json", "--folder", str(folder), folder=tmp_path)

    assert 0 == done.returncode, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["kept"] is True
    assert [] == said["lost"]
    assert said["promised"] == said["ran"] > said["answered"] >= 40
    assert 0 < said["ran_after_crash"] <= said["ran"]
    assert said["left_at_crash"] > 0
    assert 0 < said["first_task_after_seconds"] < said["all_tasks_after_seconds"]
    assert all(int(attempt) > 1 for attempt in said["ran_again"])
    assert str(folder) == said["folder"]
    assert {"afterword.db", "ledger.txt", "server.log"} <= {each.name for each in folder.iterdir()}


def test_a_terminal_gets_colours(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = warm.Popen(
        [*DEMO, *QUICK],
        env={**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)

    shown = read_all(ours)

    assert 0 == process.wait(60), shown
    assert "\x1b[1;32mlost" in shown, "green, one of the sixteen colours every theme has"
    assert "Killed it (SIGKILL)" in shown


def read_all(descriptor: int) -> str:
    """Return the output to a terminal until its last user has closed it."""
    received = b""
    try:
        while data := os.read(descriptor, 65_536):
            received += data
    except OSError:  # Linux says EIO when the other side is closed
        pass
    os.close(descriptor)
    return received.decode()


# ---------------------------------------------------------------------- interrupted, refused


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_server_and_no_files_behind(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with warm.Popen(
        [*DEMO, "--answers", "5000"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        started = re.search(r"process (\d+)", demo.stderr.readline())
        assert started is not None

        demo.send_signal(number)

        assert status == demo.wait(60)
        wait_until(lambda: not alive(int(started[1])), description="the server is gone")
        assert [] == list(tmp_path.iterdir())
        assert "Traceback" not in demo.stderr.read()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")

    done = run("--folder", str(tmp_path), folder=tmp_path)

    assert 2 == done.returncode
    assert "--folder must be a new or empty directory" in done.stderr
    assert ["precious.txt"] == [each.name for each in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = run("--folder", str(tmp_path / "file" / "folder"), folder=tmp_path)

    assert 2 == done.returncode
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


FORGETFUL = """
from afterword.demo import ledger
write_line = ledger.write_line
ledger.write_line = lambda task, order: None if order == 7 else write_line(task, order)
"""


def test_a_lost_task_is_a_failure_and_everything_is_kept(tmp_path: Path) -> None:
    """The tasks of order 7 are recorded as completed, but did not run."""
    (tmp_path / "sitecustomize.py").write_text(FORGETFUL)

    done = run(folder=tmp_path, environment={"PYTHONPATH": str(tmp_path)})

    assert 1 == done.returncode
    assert re.search(r"^lost +2 *$", done.stdout, re.MULTILINE)
    assert "2 promised tasks did not run" in done.stderr
    [folder] = tmp_path.glob("afterword-demo-*")
    assert f"The store, the ledger and the log are in {folder}" in done.stderr
    assert (folder / "afterword.db").exists()


def test_a_server_that_cannot_start_is_a_failure_and_leaves_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "uvicorn.py").write_text("raise SystemExit('no server today')")

    done = run(folder=tmp_path, environment={"PYTHONPATH": str(broken)})

    assert 1 == done.returncode
    assert "no server today" in done.stderr
    assert "Traceback" not in done.stderr
    assert 1 == len(list(tmp_path.glob("afterword-demo-*/server.log")))


# ---------------------------------------------------------------------- what counts as lost


class Shop:
    """A store and a ledger that tests fill for the demo's report."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger.txt"
        self.ledger.touch()
        self.store = open_store(f"sqlite:///{folder / 'jobs.db'}")
        self.store.open()

    def order(self, number: int, *, settled: bool, lines: int) -> Answer:
        """Add a promised task, with its end in the store or not, and its number of runs."""
        job = NewJob(id=new_id(), task="shop:pack", held=True)
        self.store.add([job], held_by="worker")
        if settled:
            claim = held_claim(job, "worker", 0.0)
            self.store.settle([Settlement(claim, Completed())])
        with self.ledger.open("a") as ledger:
            ledger.write(f"pack {number} 4711\n" * lines)
        return Answer(number, {job.id: job.task})

    def report(self, *answers: Answer) -> Report:
        """Return the demo's report on them."""
        left = Leftovers(completed=0, waiting=0, running=len(answers))
        return report(answers, left, self.store, self.ledger, restarted_at=datetime.now(UTC))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.store.close()


def test_a_task_that_both_witnesses_saw_ran(shop: Shop) -> None:
    result = shop.report(shop.order(1, settled=True, lines=1))

    assert (1, [], 0) == (result.ran, result.lost, result.twice)
    assert result.kept


@pytest.mark.parametrize(("settled", "lines"), [(True, 0), (False, 1), (False, 0)])
def test_a_task_that_one_witness_did_not_see_is_lost(shop: Shop, settled: bool, lines: int) -> None:
    seen = shop.order(1, settled=True, lines=1)
    unseen = shop.order(2, settled=settled, lines=lines)

    result = shop.report(seen, unseen)

    assert not result.kept
    assert list(unseen.tasks) == result.lost
    assert 1 == result.ran


def test_a_task_that_the_store_does_not_know_is_lost(shop: Shop) -> None:
    result = shop.report(Answer(1, {"no-such-id": "shop:pack"}))

    assert ["no-such-id"] == result.lost
    assert ["no-such-id"] == json.loads(as_json(result, None))["lost"]


def test_an_effect_that_happened_again_is_counted(shop: Shop) -> None:
    result = shop.report(shop.order(1, settled=True, lines=2))

    assert (1, 1, []) == (result.ran, result.twice, result.lost)


# ---------------------------------------------------------------------- with a dashboard


def test_a_server_behind_a_dashboard_is_killed_by_hand_and_starts_again(tmp_path: Path) -> None:
    with warm.Popen(
        [*DEMO, "--dashboard", "--port", "0", "--folder", str(tmp_path / "live")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        url = running.stdout.readline().strip()
        with httpx.Client(follow_redirects=True, timeout=60) as browser:
            overview = browser.get(url).text
            audit = browser.get(url.partition("?")[0] + "audit").text
        running.stdin.write("\n")
        running.stdin.flush()
        told = []
        for line in running.stderr:
            told.append(line)
            if "Started the server again" in line:
                break
        running.send_signal(signal.SIGINT)
        running.wait(60)

    assert "Ended jobs, per minute" in overview
    assert 5 == audit.count("<bdi>afterword demo</bdi>")
    assert "The server is gone." in "".join(told)
    for pid in re.findall(r"process (\d+)", "".join(told)):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_live_demo_has_no_result(tmp_path: Path) -> None:
    done = run("--dashboard", "--json", folder=tmp_path)

    assert 2 == done.returncode
    assert "--json prints the result of the demo, but --dashboard has none" in done.stderr
