"""Mistakes in a command line: each message has the rule, the value and the fix."""

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afterword.cli import main
from afterword.cli.commands import commands as application
from tests.command_line import Done, Shell

Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `afterword` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFTERWORD_APP", raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["afterword", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        written = capsys.readouterr()
        return Done(int(exited.value.code or 0), written.out, written.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["jobs", "--state", "done"],
            "STATE must be one of queued, running, completed, handed_over",
        ),
        (["jobs", "--limit", "0"], "N must be a whole number from 1 to 100,000, but it is '0'."),
        (["failures", "--limit", "x"], "N must be a whole number from 1 to 10,000, but it is 'x'."),
        (["audit", "--action", "foo"], "ACTION must be one of retry, cancel, delete, run, run sch"),
        (["dashboard", "--port", "70000"], "PORT must be a whole number from 0 to 65,535, but it"),
        (["run", "a:b", "--priority", "high"], "N must be a whole number, but it is 'high'."),
        (["run", "a:b", "--wait-timeout", "-1"], "SECONDS must be a number, at least 0, but it is"),
        (["top", "--interval", "nan"], "SECONDS must be a number, from 0.1 to 3,600, but it is 'n"),
        (["worker", "--log-level", "loud"], "LEVEL must be one of debug, info, warning, error, bu"),
        (
            ["queues", "limit", "mail", "0"],
            "A limit must be 1 or more, but it is 0. To stop a queue, pause it.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_the_rule(run: Run, arguments: list[str], said: str) -> None:
    done = run(*arguments)

    assert (2, "") == (done.code, done.out)
    assert said in done.err


def test_a_default_passes_its_own_rule(shell: Shell) -> None:
    commands = (["jobs"], ["failures"], ["audit"], ["top"])

    assert [0, 0, 0, 0] == [shell.run(*each).code for each in commands]


@pytest.mark.parametrize("command", ["retry", "cancel", "delete"])
def test_jobs_must_be_named(shell: Shell, command: str) -> None:
    done = shell.run(command)

    assert 2 == done.code
    assert f"Examples: afterword {command} 0193e5f0-7c1a, or afterword {command} --all" in done.err


def test_a_short_id_is_no_missing_job(shell: Shell) -> None:
    short, none = shell.run("show", "1234"), shell.run("show", "12345678")

    assert [3, 3] == [short.code, none.code]
    assert "An id must be whole, or its first or last 8 characters or more." in short.err
    assert "It may have been deleted" in none.err


@pytest.mark.parametrize("command", ["dev", "worker", "doctor --app"])
def test_an_application_that_is_not_there_is_refused(run: Run, command: str) -> None:
    done = run(*command.split(), "nowhere:app")

    assert 2 == done.code
    assert "There is no module 'nowhere' in " in done.out + done.err
    assert ", but the command line names 'nowhere'.\n" in done.out + done.err
    assert '    app = "main:app"\n' in done.out + done.err


@pytest.fixture
def taken() -> Iterator[str]:
    """A port on which something listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield str(listening.getsockname()[1])


@pytest.mark.parametrize("command", ["dashboard", "metrics"])
def test_a_port_that_is_taken_is_refused(shell: Shell, taken: str, command: str) -> None:
    done = shell.run(command, "--port", taken)

    assert (2, "") == (done.code, done.out)
    assert f"port {taken} of 127.0.0.1 is not: Address already in use" in done.err


def test_development_refuses_a_port_that_is_taken(run: Run, taken: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()

    done = run("dev", "--port", taken)

    assert (2, "") == (done.code, done.out)
    assert "Choose another --port." in done.err


def test_the_list_of_commands_is_not_cut(run: Run) -> None:
    groups = ["", *(each.name or "" for each in application.registered_groups)]

    cut = [
        line for group in groups for line in run(*group.split(), "--help").lines if "..." in line
    ]

    assert [] == [line for line in cut if "Usage:" not in line and "Afterword(" not in line]
