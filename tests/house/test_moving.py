"""The right columns of the tables in docs/moving.md are executed."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.helpers import ROOT

PAGE = ROOT / "docs/moving.md"
SYSTEMS = ("Celery", "RQ", "Dramatiq", "arq")
_CODE = re.compile(r"`([^`]+)`")


def cells() -> list[str]:
    """Return the code in the right column of each table that compares a system with Afterword."""
    found = []
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        columns = [each.strip() for each in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif len(columns) == 2 and columns[1] == "Afterword":
            inside = columns[0] in SYSTEMS
        elif inside and not line.startswith("|---"):
            code = _CODE.match(columns[1])
            found += [code[1]] if code else []
    return found


CELLS = cells()
COMMANDS = [cell for cell in CELLS if cell.startswith("afterword worker")]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return the names that the page defines."""
    monkeypatch.setenv("AFTERWORD_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
    module = types.ModuleType("page_moving")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules["afterword.tasks.registry"], "_registered", {})
    blocks = re.findall(
        r"<!-- run -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S
    )
    exec(compile("\n".join(blocks), str(PAGE), "exec", dont_inherit=True), vars(module))
    return vars(module)


@pytest.mark.parametrize("cell", sorted({*CELLS} - {*COMMANDS}))
def test_a_line_of_the_right_column_works(cell: str, names: dict[str, object]) -> None:
    code = f"{cell}\ndef decorated() -> None: ..." if cell.startswith("@") else cell
    exec(compile(code, cell, "exec", dont_inherit=True), names)


def test_every_system_has_a_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {system} | Afterword |" in text for system in SYSTEMS)
    assert len(CELLS) > 40


def test_the_commands_have_these_options() -> None:
    """The options for workers are in the help of the command."""
    command = [sys.executable, "-m", "afterword", "worker", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = {each for line in COMMANDS for each in line.split() if each.startswith("--")}
    assert options <= set(re.findall(r"--[\w-]+", text))
