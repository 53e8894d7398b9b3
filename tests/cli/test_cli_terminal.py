"""The command line in a terminal, in a pipe, and without either."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from afterword.model.outcome import Completed, Failed, RetryAt
from afterword.store.protocol import Claim, Declared, Report, Settlement
from tests import warm
from tests.command_line import COMMAND, WORKER, Shell, opened
from tests.pty_session import PtySession

TASK = "shop.warehouse.packing:pack_the_order_and_print_its_label"
DONE = re.compile("\x1b\\[38;5;(?:197|70)m(\u2501+)\x1b")  # the done part of a bar


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    with opened(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path, capsys, monkeypatch) as shell:
        monkeypatch.setenv("AFTERWORD_URL", shell.url)
        yield shell


def piped(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command whose streams are pipes."""
    return run([COMMAND, *arguments], {**os.environ, **environment})


def run(
    command: list[str], environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run any command in pipes."""
    return warm.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def fill(shell: Shell) -> str:
    """Add a failed job with long words, and other objects; returns its id."""
    shell.add(TASK, queue="mail")
    shell.store.limit({"a-queue-with-quite-a-long-name": 10_000})
    words = "At 09:00 on Monday through Friday (America/Argentina/Buenos_Aires)"
    rule = "0 9 * * MON-FRI America/Argentina/Buenos_Aires"
    daily = Declared(
        name="shop.warehouse.packing.daily", task=TASK, rule=rule, words=words, next_at=4e9
    )
    shell.store.declare([daily])
    return shell.fail("ConnectionRefusedError: [Errno 111] Connection refused by the label printer")


def progress(claim: Claim, done: int, message: str) -> Report:
    """Return the progress of a job with ten steps."""
    return Report(claim, json.dumps({"current": done, "total": 10, "message": message}))


def bars(received: str) -> list[int]:
    """Return the numbers of columns drawn as done, one for each drawing of the bar."""
    return [len(done) for done in DONE.findall(received)]


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["jobs", "failures", "tasks", "workers", "queues", "schedules"])
def test_a_line_of_a_table_is_a_line_of_the_terminal(
    shell: Shell, command: str, columns: int
) -> None:
    fill(shell)

    with PtySession(command, columns=columns) as terminal:
        terminal.wait()

    assert [] == [line for line in terminal.shown.splitlines() if len(line) > columns]
    assert "\x1b[" in terminal.received
    assert "Traceback" not in terminal.shown


def test_a_narrow_terminal_shows_as_much_of_an_id_as_is_needed(shell: Shell) -> None:
    failed = fill(shell)

    with PtySession("jobs", "--state", "failed", columns=80) as narrow:
        narrow.wait()
    shown = re.search(rf"^{failed[:18]} ", narrow.shown, re.MULTILINE)

    assert shown is not None
    assert 0 == piped("show", shown[0].strip()).returncode


def test_a_narrow_terminal_cuts_the_module_and_shows_the_error(shell: Shell) -> None:
    shell.fail("ValueError: no such parcel", "shop.warehouse.orders.packing:pack_parcel")

    with PtySession("jobs", columns=80) as jobs:
        jobs.wait()
    with PtySession("failures", columns=80) as failures:
        failures.wait()

    assert ":pack_parcel " in jobs.shown
    assert ":pack_parcel " in failures.shown
    assert "ValueError: no such parcel" in failures.shown


def test_a_narrow_terminal_shows_the_functions_of_schedules(shell: Shell) -> None:
    """Their names begin with the same module."""
    fill(shell)

    with PtySession("schedules", columns=80) as terminal:
        terminal.wait()

    assert re.search(r"packing\.daily |^daily ", terminal.shown, re.MULTILINE)


def test_a_state_has_a_colour_and_no_color_has_none(shell: Shell) -> None:
    fill(shell)

    with PtySession("jobs") as coloured:
        coloured.wait()
    with PtySession("jobs", environment={"NO_COLOR": "1"}) as plain:
        plain.wait()

    assert "\x1b[31mfailed" in coloured.received
    assert "\x1b[31m" not in plain.received
    assert re.sub(r"\d+", "", coloured.shown) == re.sub(r"\d+", "", plain.shown)


def test_a_pipe_gets_whole_lines_without_colours(shell: Shell) -> None:
    failed = fill(shell)

    done = piped("jobs", COLUMNS="40")

    assert 0 == done.returncode
    assert "\x1b" not in done.stdout
    assert 3 == len(done.stdout.splitlines())
    assert failed in done.stdout
    assert done.stdout.splitlines()[1].endswith("refused by the label printer")
    assert TASK in done.stdout


# ---------------------------------------------------------------------- top


def test_top_is_refreshed_until_q(shell: Shell) -> None:
    shell.join()

    with PtySession("top", "--interval", "0.1") as terminal:
        terminal.wait_for("0 queued")
        failed = shell.fail("ValueError: no")
        terminal.wait_for(failed[:18])
        assert not terminal.echoes
        terminal.press("q")

        assert 0 == terminal.wait()
        assert terminal.echoes
    assert terminal.received.endswith("\x1b[?25h\x1b[?1049l"), "the cursor and the screen are back"


def test_any_other_key_looks_at_once(shell: Shell) -> None:
    with PtySession("top", "--interval", "3600") as terminal:
        terminal.wait_for("0 queued")
        shell.add(queue="mail")
        terminal.press(" ")

        terminal.wait_for("1 queued")
        terminal.press("q")
        assert 0 == terminal.wait()


@pytest.mark.parametrize("command", ["top", "watch"])
def test_ctrl_c_ends_without_a_word(shell: Shell, command: str) -> None:
    job_id = shell.add(queue="mail")
    arguments = [command] if command == "top" else [command, job_id]

    with PtySession(*arguments) as terminal:
        terminal.wait_for("queued")
        terminal.press("\x03")

        assert 130 == terminal.wait()
        assert terminal.echoes
    assert "Traceback" not in terminal.shown
    assert "Aborted" not in terminal.shown


# ---------------------------------------------------------------------- watch


def test_watching_shows_progress_until_the_job_has_ended(shell: Shell) -> None:
    claim = shell.start()
    settled = [Settlement(claim, Completed())]

    with PtySession("watch", claim.id) as terminal:
        terminal.wait_for("running, attempt 1")
        terminal.wait_for("0:00:01")  # it moves
        shell.store.settle(settled)

        assert 0 == terminal.wait()
    assert "completed shop:pack in " in terminal.shown


def test_watching_shows_a_bar_of_what_is_done_and_then_the_result(shell: Shell) -> None:
    claim = shell.start()
    shell.store.report([progress(claim, 0, "starting")])

    with PtySession("watch", claim.id, columns=100) as terminal:
        terminal.wait_for("0 %, 0 of 10: starting")
        shell.store.report([progress(claim, 4, "resizing")])
        terminal.wait_for("40 %, 4 of 10: resizing")
        eight = terminal.received
        shell.store.report([progress(claim, 10, "done")])
        terminal.wait_for("100 %, 10 of 10: done")
        shell.store.settle([Settlement(claim, Completed('{"pages":10}'))])

        assert 0 == terminal.wait()
    assert [8] == bars(eight)[-1:]
    assert [20] == bars(terminal.received)[-1:]
    assert "completed shop:pack in " in terminal.shown
    assert '{"pages": 10}' == terminal.shown.splitlines()[-1]


def test_a_bar_begins_anew_with_the_next_attempt(shell: Shell) -> None:
    claim = shell.start()
    shell.store.report([progress(claim, 9, "first")])

    with PtySession("watch", claim.id, columns=100) as terminal:
        terminal.wait_for("90 %, 9 of 10: first")
        shell.store.settle([Settlement(claim, RetryAt(0.0, "no"))])
        terminal.wait_for("queued: due for")
        [again] = shell.store.claim(WORKER, ["default"], 1)
        shell.store.report([progress(again, 1, "second")])
        terminal.wait_for("attempt 2, 10 %, 1 of 10: second")
        shell.store.cancel([claim.id], "enough")
        terminal.wait_for("attempt 2, asked to end (enough), 10 %")
        shell.store.settle([Settlement(again, Failed("Traceback\nValueError: no"))])

        assert 1 == terminal.wait()
    assert re.search(r"failed shop:pack in \S+ s, attempt 2: ValueError: no\n$", terminal.shown)


def test_a_long_message_does_not_leave_its_line(shell: Shell) -> None:
    claim = shell.start(task=TASK)
    shell.store.report([progress(claim, 1, "\x1b[2J" + "very long " * 50)])

    with PtySession("watch", claim.id, "--timeout", "1", columns=80) as terminal:
        assert 1 == terminal.wait()

    assert "\x1b[2J" not in terminal.received
    lines = re.split(r"[\r\n]+", terminal.shown)
    assert [] == [line for line in lines if len(line) > 80]
    assert [] == [line for line in lines if line.strip().startswith("long")]
    assert [2] == bars(terminal.received)[-1:], "it is the message that is cut"


def test_progress_without_a_terminal_is_a_line_per_tenth(shell: Shell) -> None:
    claim = shell.start()
    shell.store.report([progress(claim, 4, "resizing")])

    with warm.Popen(
        [COMMAND, "watch", claim.id], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stderr.readline()
        shell.store.report([progress(claim, 4, "still resizing")])
        time.sleep(0.5)  # two updates
        shell.store.report([progress(claim, 5, "cropping")])
        second = process.stderr.readline()
        shell.store.settle([Settlement(claim, Completed('"x.jpg"'))])

        assert 0 == process.wait(30)
        assert "x.jpg" == process.stdout.read().splitlines()[1]
    where = f"running, attempt 1, on worker {WORKER}"
    assert [f"{where}: 40 %, 4 of 10: resizing\n", f"{where}: 50 %, 5 of 10: cropping\n"] == [
        first,
        second,
    ]


def test_watching_without_a_terminal_is_a_line_per_change(shell: Shell) -> None:
    job_id = shell.add()
    shell.join()

    with warm.Popen(
        [COMMAND, "watch", job_id], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        queued = process.stderr.readline()
        [claim] = shell.store.claim(WORKER, ["default"], 1)
        running = process.stderr.readline()
        shell.store.settle([Settlement(claim, Completed())])

        assert 0 == process.wait(30)
        assert process.stdout.read().startswith("completed shop:pack in ")
        assert "" == process.stderr.read()
    assert queued.startswith("queued: due for ")
    assert f"running, attempt 1, on worker {WORKER}\n" == running


# ---------------------------------------------------------------------- bad surroundings


@pytest.mark.parametrize("command", ["jobs", "jobs --json", "export"])
def test_a_reader_that_stops_makes_no_noise(shell: Shell, command: str) -> None:
    for _ in range(200):
        shell.add(arguments='{"text": "%s"}' % ("x" * 2_000))

    with warm.Popen(
        [COMMAND, *command.split(), *(["--limit", "200"] if "jobs" in command else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(30) in (0, 1)
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


C_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("show", {"LC_ALL": "C"}),
        ("show", C_ONLY),
        ("show", {"PYTHONIOENCODING": "ascii"}),
        ("top", C_ONLY),  # its output is that of `show`
    ],
)
def test_a_locale_without_unicode_is_no_obstacle(
    shell: Shell, command: str, environment: dict[str, str]
) -> None:
    failed = shell.fail("ValueError: Zo\xeb and \u540d\u524d")

    done = piped(command, *([failed] if command == "show" else []), **environment)

    assert 0 == done.returncode, done.stderr
    assert "ValueError: Zo" in done.stdout


def test_an_ascii_terminal_shows_what_it_can(shell: Shell) -> None:
    shell.fail("ValueError: Zoë")
    running = shell.start()

    ascii_only = {"PYTHONIOENCODING": "ascii"}
    with PtySession("jobs", environment=ascii_only) as jobs:
        assert 0 == jobs.wait()
    with PtySession("watch", running.id, "--timeout", "0.5", environment=ascii_only) as watch:
        assert 1 == watch.wait()

    assert (jobs.received + watch.received).isascii()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("status >&-", 0),
        ("top <&- 2>&-", 0),
        ("jobs <&- >&- 2>&-", 0),
        ("retry --all <&-", 2),
        ("show 2>&- -- -x", 3),
        ("import <&-", 2),
    ],
)
def test_a_closed_stream_is_no_obstacle(shell: Shell, command: str, status: int) -> None:
    shell.fail()

    done = run(["/bin/sh", "-c", f"exec {COMMAND} {command}"])

    assert status == done.returncode
    assert "Traceback" not in done.stdout + done.stderr


def test_an_export_flows_into_an_import(shell: Shell, tmp_path: Path) -> None:
    ids = [shell.add() for _ in range(20)]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert 0 == piped("db", "migrate", "--url", other).returncode

    with warm.Popen([COMMAND, "export"], stdout=subprocess.PIPE) as export:
        imported = [COMMAND, "import", "--url", other]
        with warm.Popen(
            imported, stdin=export.stdout, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = process.stdout.read()

    assert "imported 20 jobs, 0 existed already\n" == said
    listed = piped("jobs", "--json", "--url", other, "--limit", "100").stdout
    assert ids == sorted(json.loads(line)["id"] for line in listed.splitlines())
