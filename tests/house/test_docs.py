"""The pages are correct: Python runs, copies are copies, links lead somewhere.

A comment in the line above a block of Python may mark it:

- `<!-- run -->`: executed, all such blocks of a page one after the other as one module;
- `<!-- from: examples/x.py -->`: a part of that file, word for word;
- `<!-- test with: examples/x.py -->`: run by pytest, beside a copy of that file called main.py.

A block without a mark must at least compile.
"""

import ast
import os
import re
import shutil
import sys
import types
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from typer.main import get_command

from afterword import Afterword
from afterword.cli.commands import commands
from afterword.errors import ArgumentError
from afterword.fastapi import Accepted
from afterword.tasks.arguments import plan
from afterword.tasks.options import CallOptionsDict, TaskOptionsDict
from tests import warm
from tests.helpers import ROOT

PAGES = [
    page
    for page in (*ROOT.glob("*.md"), ROOT / "examples/README.md", *(ROOT / "docs").rglob("*.md"))
    if page.exists()
]
_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>[^>]*?) -->\n)?"
    r"^(?P<indent>[ ]*)```python\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:[$`]|^) ?afterword ([a-z][^\n|`]*)", re.MULTILINE)
_OPTION = re.compile(r"(?<= )--[a-z][\w-]*")
_TASK_OPTIONS = TaskOptionsDict.__annotations__
_CALL_OPTIONS = CallOptionsDict.__annotations__
_MARKS = ("", "run", "from", "test with")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of Python in a page; `mark` says what to do with it, `file` with which file."""

    page: Path
    line: int
    mark: str
    file: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        mark, _, file = (match["mark"] or "").partition(": ")
        yield Block(page, line, mark, file, dedent(match["code"]))


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def _marked(mark: str) -> list[Block]:
    return [block for block in BLOCKS if block.mark == mark]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_blocks_compile(block: Block) -> None:
    """Every block of Python compiles; `await` may be outside of a function."""
    assert block.mark in _MARKS

    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    assert compile(block.code, str(block), "exec", flags, dont_inherit=True)


@pytest.mark.parametrize(
    "page", sorted({block.page for block in _marked("run")}), ids=lambda page: page.name
)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page are one module, so that its jobs find its functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERWORD_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    # Tasks that a page registers are registered for its own blocks only.
    monkeypatch.setattr(sys.modules["afterword.tasks.registry"], "_registered", {})
    for block in _marked("run"):
        if block.page == page:
            # As many lines before it as in the page, so that tracebacks show the right line.
            code = "\n" * (block.line - 1) + block.code
            exec(compile(code, str(page), "exec", dont_inherit=True), vars(module))


@pytest.mark.parametrize("block", _marked("from"), ids=str)
def test_copies_are_copies(block: Block) -> None:
    """A block marked as a copy is in its file, word for word."""
    assert block.code in (ROOT / block.file).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", _marked("test with"), ids=str)
def test_tests_pass(block: Block, tmp_path: Path) -> None:
    """A page's tests run as readers run them: beside main.py, with our pytest plugin."""
    shutil.copy(ROOT / block.file, tmp_path / "main.py")
    (tmp_path / "test_main.py").write_text(block.code, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "AFTERWORD_URL"}
    ended = warm.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert re.search(r"\b\d+ passed", ended.stdout)
    assert not (tmp_path / "afterword.db").exists()


def test_the_tutorial_quotes_the_error() -> None:
    """The message in the tutorial is the message of its code."""
    tutorial = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    module = types.ModuleType("tutorial")
    source = (ROOT / "examples/tutorial.py").read_text(encoding="utf-8")
    exec(compile(source, "tutorial.py", "exec", dont_inherit=True), vars(module))
    with pytest.raises(ArgumentError) as caught:
        plan(module.brew).encode(("tea", "a while"), {})

    quote = "\n".join(re.findall(r"^> (.*)$", tutorial, re.MULTILINE)).replace("\n", " ")
    assert str(caught.value) == quote


def _anchors(page: Path) -> set[str]:
    """Return the link targets of a page's headings on GitHub."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings that a page links to exist."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    broken = []
    for link in _LINK.finditer(text):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        anchor = link["anchor"]
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link[0])

    assert [] == broken


def _options(words: list[str]) -> set[str]:
    """Return the options of the command that begins a line; none if it is no command."""
    command: Any = get_command(commands)
    for word in words:
        below = getattr(command, "commands", {}).get(word)
        if below is None:
            break
        command = below
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_the_options_that_pages_show(page: Path) -> None:
    unknown = [
        line
        for line in _COMMAND.findall(page.read_text(encoding="utf-8"))
        if not set(_OPTION.findall(line)) <= {"--help", *_options(line.split())}
    ]

    assert [] == unknown


def test_pictures_are_there_in_both_looks_and_small() -> None:
    shown = {
        (page.parent / path).resolve()
        for page in PAGES
        for path in re.findall(r'\b(?:src|srcset)="([^":]+)"', page.read_text("utf-8"))
    }
    pictures = set((ROOT / "docs" / "images").iterdir())

    assert shown == pictures
    assert {each.with_name(each.name.replace("-light", "-dark")) for each in shown} <= shown
    assert sum(each.stat().st_size for each in pictures) < 600_000


def _named_in_table(page: str, heading: str) -> set[str]:
    """Return the names in the first column of the first table below a heading."""
    text = "\n" + (ROOT / "docs" / page).read_text(encoding="utf-8")
    below = text.partition(f"\n{heading}\n")[2]
    table = below[below.index("\n|---") :].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    return set(re.findall(r"`(\w+)`", " ".join(first)))


@pytest.mark.parametrize(
    ("page", "heading", "options"),
    [
        ("status-api.md", "## The answer 202", signature(Accepted).parameters),
        ("status-api.md", "## Options", signature(Afterword.jobs_router).parameters),
        ("tasks.md", "## Options of the application", signature(Afterword).parameters),
        ("tasks.md", "## All options", {**_TASK_OPTIONS, **_CALL_OPTIONS}),
        ("schedules.md", "# Schedules", signature(Afterword.every).parameters),
    ],
)
def test_tables_have_the_options_that_there_are(
    page: str, heading: str, options: Collection[str]
) -> None:
    assert {*options} - {"self", "clock", "unknown", "expression"} == _named_in_table(page, heading)
