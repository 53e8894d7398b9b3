"""Type checkers accept the examples of the pages: mypy and pyright (as basedpyright)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.house.test_docs import BLOCKS

PAGE = ROOT / "docs/injection.md"
WRONG = """
def wrong(tasks: BackgroundTasks) -> None:
    tasks.add_task(ship_typed, "seven")
    tasks.add_task(ship_typed)
    typed_afterword.every(seconds=60).add_task(ship_typed, "seven")
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The module of the page on typing, and three wrong calls at its end."""
    (code,) = [each.code for each in BLOCKS if each.page == PAGE and "ship_typed" in each.code]
    module = tmp_path / "typed.py"
    module.write_text(code + WRONG, encoding="utf-8")
    return module


def wrong_lines(module: Path) -> list[int]:
    lines = module.read_text(encoding="utf-8").splitlines()
    return [len(lines) - 2, len(lines) - 1, len(lines)]


def test_mypy_reports_the_wrong_calls_only(module: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--output", "json", str(module)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    errors = [json.loads(line) for line in found.stdout.splitlines()]

    lines = [each["line"] for each in errors if each["severity"] == "error"]
    assert wrong_lines(module) == lines, found.stdout


def test_pyright_reports_the_wrong_calls_only(module: Path) -> None:
    settings = {"typeCheckingMode": "standard", "include": ["."]}
    (module.parent / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", sys.executable, "--project", str(module.parent)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=module.parent, check=False)
    errors = json.loads(found.stdout)["generalDiagnostics"]

    lines = [each["range"]["start"]["line"] + 1 for each in errors if each["severity"] == "error"]
    assert wrong_lines(module) == sorted(set(lines)), found.stdout
