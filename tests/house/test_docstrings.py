"""Docstrings begin with a verb or a noun; their examples run, with the output that they show."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.helpers import ROOT

SOURCE = ROOT / "src" / "afterword"

# First words of docstrings that ask or hint instead of saying what the thing is.
QUESTIONS = {
    *("What", "Whether", "Who", "Whoever", "Whose", "That", "Which"),
    *("How", "Where", "When", "Nobody", "Somebody"),
}
SUSPECT = re.compile(rf'"""\W*({"|".join(sorted(QUESTIONS))})\b')  # quicker than the parser
FOLDERS = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
OTHERS = ("bench", "chaos", "examples", "simulation", "tests", "typing_tests")  # beside the source


@pytest.mark.parametrize("room", sorted({*FOLDERS, "."}))
def test_a_docstring_begins_with_a_verb_or_a_noun(room: str) -> None:
    """This holds for all modules, classes and functions; "." is the package's own folder."""
    modules = sorted((SOURCE / room).glob("*.py" if room == "." else "**/*.py"))

    assert [] == [each for module in modules for each in _questions(module)]


@pytest.mark.parametrize("folder", OTHERS)
def test_a_docstring_beside_the_source_begins_with_a_verb_or_a_noun(folder: str) -> None:
    modules = sorted((ROOT / folder).glob("**/*.py"))

    assert [] == [each for module in modules for each in _questions(module)]


def _questions(module: Path) -> Iterator[str]:
    """Yield a module's docstrings that begin with a question word, with their places."""
    text = module.read_text()
    for node in ast.walk(ast.parse(text)) if SUSPECT.search(text) else ():
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            words = (ast.get_docstring(node) or "").split(maxsplit=1)
            if words and words[0].strip(",.:;") in QUESTIONS:
                name = getattr(node, "name", "the module")
                yield f"{module.relative_to(ROOT)}, {name}: {ast.get_docstring(node)}"


def test_the_examples_in_docstrings_run(tmp_path: Path) -> None:
    """They run in a separate process: an example may register a task, or leave a file."""
    command = [
        *(sys.executable, "-m", "pytest", "--doctest-modules", "-q", "-p", "no:randomly"),
        *("-p", "no:afterword", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."),
        str(SOURCE),
    ]
    result = warm.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 0 == result.returncode, result.stdout + result.stderr
    assert " passed" in result.stdout
