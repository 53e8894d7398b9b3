"""The examples in the docstrings run, and say what comes out."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "afterword"


def test_the_examples_in_docstrings_run(tmp_path: Path) -> None:
    """In a process of their own: an example may register a task, or leave a file."""
    command = [
        *(sys.executable, "-m", "pytest", "--doctest-modules", "-q", "-p", "no:randomly"),
        *("-p", "no:afterword", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."),
        str(SOURCE),
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout
