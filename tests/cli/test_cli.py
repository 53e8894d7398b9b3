"""The command line as a process: its output and its exit codes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import afterword
from afterword.admin.ids import NotFound
from afterword.cli.commands import commands as application
from afterword.cli.exit_code import ExitCode, exit_code_of
from afterword.errors import (
    AfterwordError,
    ConfigurationError,
    MissingExtra,
    NotStorable,
    StoreCorrupt,
    StoreUnavailable,
)
from tests import warm
from tests.helpers import ROOT

COMMAND = str(Path(sys.executable).with_name("afterword"))
WITHOUT = """
import sys
sys.modules[{package!r}] = None  # what `import` finds when it is not installed
from afterword.cli import main
main()
"""


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `afterword` with these arguments."""
    return warm.run([COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)


def run_without(package: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `afterword` without one of its packages."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package=package), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_version_is_data() -> None:
    done = run("--version")

    assert (0, f"afterword {afterword.__version__}\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["demo", "--help"]])
def test_help_has_examples(arguments: list[str]) -> None:
    done = run(*arguments)

    assert 0 == done.returncode
    assert "Examples:\n" in done.stdout
    assert "\n    afterword demo --json" in done.stdout
    assert "" == done.stderr


def _commands() -> Iterator[list[str]]:
    """Return the words of every command; those of a group begin with its name."""
    yield from ([each.name or ""] for each in application.registered_commands)
    for group in application.registered_groups:
        below = group.typer_instance
        assert below is not None
        if below.registered_callback:
            yield [group.name or ""]
        for each in below.registered_commands:
            assert each.callback is not None
            yield [group.name or "", each.name or each.callback.__name__]


COMMANDS = list(_commands())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_examples_and_a_line_in_the_documentation(words: list[str]) -> None:
    shown = CliRunner().invoke(application, [*words, "--help"], terminal_width=80)
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")

    assert 0 == shown.exit_code
    assert "Examples:\n" in shown.output
    assert f"\n    afterword {' '.join(words)}" in shown.output
    assert [] == [line for line in shown.output.splitlines() if len(line) > 80]
    assert f"`{' '.join(words)}" in page


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_in_the_documentation(words: list[str]) -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(application, [*words, "--help"], terminal_width=80).output
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE)

    assert "--help" in options
    assert [] == [option for option in options if not re.search(rf"[`/ ]{option}[`/ ]", page)]


def test_the_first_help_fits_a_terminal_and_lists_every_command() -> None:
    shown = run("--help").stdout.splitlines()

    assert [] == [line for line in shown if len(line) > 80]
    listed = [line.split()[0] for line in shown[shown.index("Commands:") + 1 :]]
    assert {words[0] for words in COMMANDS} == set(listed)
    assert ["demo", "status", "queues", "schedules", "run", "db"] == [
        name for name in listed if name in {"demo", "status", "queues", "schedules", "run", "db"}
    ]


def test_exit_codes_are_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")

    assert all(f"\n| {code.value} | " in page for code in ExitCode)


@pytest.mark.parametrize("arguments", [["dmeo"], ["--wrong"], ["demo", "--answers", "many"]])
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    done = run(*arguments)

    assert 2 == done.returncode
    assert "" == done.stdout
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_the_message_has_the_command_that_installs_it(package: str) -> None:
    done = run_without(package, "--version")

    assert 2 == done.returncode
    assert "" == done.stdout
    assert 'Run: pip install "afterword[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_the_demo_says_what_it_needs_before_it_starts_anything(package: str) -> None:
    done = run_without(package, "demo")

    assert 2 == done.returncode
    assert 'Run: pip install "afterword[cli]"' in done.stderr
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["demo", "--answers", "10"]])
def test_a_reader_that_has_gone_makes_no_noise(arguments: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = warm.run(
        [COMMAND, *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)

    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_locale_without_unicode_is_no_obstacle() -> None:
    done = subprocess.run(
        [COMMAND, "demo", "--help"],
        env={**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AfterwordError("it said no"), ExitCode.FAILED),
        (NotStorable("a lambda"), ExitCode.FAILED),
        (ConfigurationError("an option"), ExitCode.USAGE),
        (NotFound("a job"), ExitCode.NOT_FOUND),
        (MissingExtra("this", "afterword[cli]"), ExitCode.USAGE),
        (StoreUnavailable("busy"), ExitCode.UNREACHABLE),
        (StoreCorrupt("damaged"), ExitCode.UNREACHABLE),
    ],
)
def test_every_error_has_an_exit_code(error: AfterwordError, code: ExitCode) -> None:
    assert code is exit_code_of(error)


def test_exit_codes_are_those_of_the_documentation() -> None:
    codes = {code.name: code.value for code in ExitCode}

    assert {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "REFUSED": 4,
        "UNREACHABLE": 5,
        "INTERRUPTED": 130,
    } == codes
