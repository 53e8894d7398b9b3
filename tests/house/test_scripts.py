"""Every script is executable, and describes itself in its second line."""

import os
import stat
from pathlib import Path

import pytest

from tests.helpers import ROOT

SCRIPTS = [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_is_executable_and_says_what_it_does(script: Path) -> None:
    shebang, comment = script.read_text("utf-8").splitlines()[:2]

    assert os.access(script, os.X_OK)
    assert script.stat().st_mode & stat.S_IXOTH
    assert shebang.startswith("#!")
    assert comment.startswith("# ")


def test_the_scripts_are_the_five_everybody_knows() -> None:
    names = {script.name for script in SCRIPTS}

    assert {"install", "test", "check", "demo", "bench"} <= names
