"""The findings as JSON, and as the table in docs/reliability.md."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw

from chaos.findings import Finding
from chaos.lab import SQLITE
from tests.postgres import VERSION

DOCS = Path(__file__).parent.parent / "docs"
PAGE, DATA = DOCS / "reliability.md", DOCS / "reliability.json"
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"

Row = Mapping[str, object]


def publish(findings: Sequence[Finding]) -> None:
    """Replace the rows of these experiments, and keep the other rows."""
    rows = {(str(row["name"]), str(row["store"])): row for row in _known()}
    for finding in findings:
        rows[finding.name, finding.store] = {**asdict(finding), **circumstances()}
    ordered = [rows[key] for key in sorted(rows, key=_place)]
    DATA.write_text(json.dumps(ordered, indent=2) + "\n")
    PAGE.write_text(_with_table(PAGE.read_text(), table(ordered)))


def _place(key: tuple[str, str]) -> tuple[str, int, bool]:
    """Return the sort key of a row: A to D, then F1, F2, F10; SQLite first."""
    name, store = key
    return name[0], int(name[1:] or 0), store != SQLITE


def _known() -> Sequence[Row]:
    rows: Sequence[Row] = json.loads(DATA.read_text()) if DATA.exists() else []
    return rows


def circumstances() -> Row:
    """Return the date, the versions and the machine."""
    packages = ("afterword", "fastapi", "starlette", "uvicorn", "apsw", "psycopg")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "sqlite": apsw.sqlite_lib_version(),
            "postgresql": VERSION,
            **{package: version(package) for package in packages},
        },
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
    }


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, with the machines and versions below."""
    lines = [
        "| | store | what is done | required | measured | on |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
        "",
        *sorted({_setting(row) for row in rows}),
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    mark = "" if row["passed"] else "**not met**: "
    return (
        f"| {row['name']} | {row['store']} | {row['question']} | {row['required']} |"
        f" {mark}{row['measured']} | {row['date']} |"
    )


def _setting(row: Row) -> str:
    versions = row["versions"]
    used = versions.items() if isinstance(versions, Mapping) else ()
    names = ", ".join(f"{name} {number}" for name, number in used)
    return f"Measured on {row['machine']}; {names}."


def _with_table(page: str, text: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
