"""Type checkers accept the examples of the pages: pyright (basedpyright), mypy in scripts/check."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT
from tests.house.test_docs import BLOCKS

PAGE = ROOT / "docs/injection.md"
MODULE = ROOT / "typing_tests/injection_page.py"


def test_the_module_that_mypy_checks_is_that_of_the_page() -> None:
    """scripts/check lets mypy report each wrong call that is no error."""
    (code,) = [each.code for each in BLOCKS if each.page == PAGE and "ship_typed" in each.code]

    assert code in MODULE.read_text(encoding="utf-8")


def test_pyright_reports_the_wrong_calls_only(tmp_path: Path) -> None:
    settings = {
        "typeCheckingMode": "standard",
        "include": ["."],
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    shutil.copy(MODULE, tmp_path)
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", sys.executable, "--project", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    errors = json.loads(found.stdout)["generalDiagnostics"]

    lines = MODULE.read_text(encoding="utf-8").splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if "type: ignore" in line]
    assert 3 == len(wrong)
    found_at = [
        each["range"]["start"]["line"] + 1 for each in errors if each["severity"] == "error"
    ]
    assert wrong == sorted(set(found_at)), found.stdout
