"""The jobs of a search as a file: JSON or CSV."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from typing import Any

from afterword.admin.document import document, job_document
from afterword.admin.found import every
from afterword.admin.ids import NotFound
from afterword.dashboard.jobs import searched
from afterword.dashboard.view import Download, View
from afterword.model.job import JobRecord

LIMIT = 100_000  # jobs
_COLUMNS = [each.name for each in fields(JobRecord)]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def send(view: View) -> Download:
    """Send up to 100,000 jobs, the newest first."""
    search = searched(view, view.asked("q"))
    jobs = map(view.shown, every(view.store, search, LIMIT))
    kind = view.path["format"]
    if kind == "json":
        return Download(chunks=_as_json(jobs), media_type="application/json", name="jobs.json")
    if kind == "csv":
        return Download(chunks=_as_csv(jobs), media_type="text/csv", name="jobs.csv")
    raise NotFound("Jobs are exported as export.json or export.csv.")


def _as_json(jobs: Iterator[JobRecord]) -> Iterator[str]:
    comma = "["
    for job in jobs:
        yield f"{comma}\n{json.dumps(job_document(job))}"
        comma = ","
    yield "\n]\n" if comma == "," else "[]\n"


def _as_csv(jobs: Iterator[JobRecord]) -> Iterator[str]:
    yield _lines([_COLUMNS])
    while some := list(islice(jobs, 100)):
        yield _lines([[_cell(value) for value in document(job).values()] for job in some])


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    """Write a value as a cell that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return "" if value is None else json.dumps(value)
    return f"'{value}" if value.startswith(_FORMULA) else value
