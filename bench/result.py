"""Results: tables for people and JSON for programs, each with the machine and versions."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

PACKAGES = ["afterword", "fastapi", "starlette", "uvicorn", "uvloop", "httptools"]
_PAGE = """# Benchmarks

Machines are shared and noisy: an absolute figure does not hold from run to run. What counts are the
ratios between figures of one table, which were measured in turns within one run. The tables are
written by `scripts/bench`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one benchmark: medians in the rows, every round in the data."""

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: str
    data: Mapping[str, Any]
    versions: Sequence[str] = ()  # besides those of PACKAGES, Python and SQLite

    def as_markdown(self) -> str:
        """Return title, table, notes and surroundings as Markdown."""
        rule = ["---", *["---:" for _ in self.header[1:]]]
        lines = ["| " + " | ".join(row) + " |" for row in [self.header, rule, *self.rows]]
        table = "\n".join(lines)
        return f"## {self.title}\n\n{table}\n\nMedians. {self.notes}\n\n{self.surroundings}\n"

    @property
    def surroundings(self) -> str:
        """The day, the machine, and the versions."""
        return _surroundings(self.versions)


def publish(result: Result, root: Path) -> None:
    """Write bench/results/NAME.json, and the table in the docs.

    The table stays on the page that already has it; a new one goes to docs/benchmarks.md.
    """
    file = root / "bench" / "results" / f"{result.name}.json"
    file.parent.mkdir(exist_ok=True)
    content = {"title": result.title, "surroundings": result.surroundings, "rounds": result.data}
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    page = _page_of(result, root / "docs")
    before = page.read_text() if page.exists() else _PAGE
    page.write_text(_with_section(before, result))


def _page_of(result: Result, docs: Path) -> Path:
    begin = f"<!-- bench {result.name} -->"
    having = [page for page in docs.glob("*.md") if begin in page.read_text()]
    return having[0] if having else docs / "benchmarks.md"


def _with_section(page: str, result: Result) -> str:
    """Return the page with the benchmark's section replaced, or added at the end."""
    begin, end = f"<!-- bench {result.name} -->", f"<!-- end of bench {result.name} -->"
    section = f"{begin}\n{result.as_markdown()}{end}"
    if begin not in page:
        return f"{page.rstrip()}\n\n{section}\n"
    head, _, rest = page.partition(begin)
    return f"{head}{section}{rest.partition(end)[2]}"


def _surroundings(versions: Sequence[str]) -> str:
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    used = [python, *packages, f"SQLite {apsw.sqlite_lib_version()}", *versions]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores,"
        f" {platform.system()} {platform.release()}; {', '.join(used)}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
