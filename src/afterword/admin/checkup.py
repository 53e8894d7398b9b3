"""Checks of the installation and the store, with a fix for each problem.

`afterword doctor` and the dashboard's screen System show the same findings.
"""

import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from afterword.admin.duration import show_instant, show_span
from afterword.admin.health import (
    STALE,
    Snapshot,
    due_jobs_wait,
    is_forgotten,
    parked_in_words,
    serves,
    wait_verb,
)
from afterword.admin.words import many, survives
from afterword.store.protocol import Store
from afterword.store.sqlite.path import file_system
from afterword.telemetry import printable

Level = Literal["ok", "note", "problem"]

_PACKAGES = ("afterword", "starlette", "pydantic", "apsw")
_EXTRAS = {"cli": "fastapi uvicorn watchfiles", "postgres": "psycopg"}
_LITTLE_SPACE = 256 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, with a fix if something is wrong."""

    name: str
    level: Level
    found: str
    fix: str = ""


def of_store(store: Store) -> Iterator[Finding]:
    """Check an open store: its file, and its database as the store sees it."""
    yield Finding("store", "ok", f"{store.url}, {survives(store.durability)}")
    yield from _file(store)
    yield from _server(store)


def as_text(findings: Iterable[Finding]) -> str:
    """Write findings as a report."""
    return "".join(
        f"{each.level:<7}  {each.name}: {printable(each.found)}\n"
        + (f"         {each.fix}\n" if each.fix else "")
        for each in findings
    )


# ---------------------------------------------------------------------- the installation


def installation() -> Iterator[Finding]:
    """Check the installed packages."""
    yield Finding("python", "ok", f"{platform.python_version()} on {sys.platform}")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    yield Finding("packages", "ok", versions)
    for extra, names in _EXTRAS.items():
        missing = [name for name in names.split() if importlib.util.find_spec(name) is None]
        if missing:
            fix = f'If you need it: pip install "afterword[{extra}]"'
            yield Finding(f"extra {extra}", "note", f"without {', '.join(missing)}", fix)
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


# ---------------------------------------------------------------------- where the store is


def _file(store: Store) -> Iterator[Finding]:
    """Check the file of a store that is a file."""
    path = getattr(store, "path", None)
    if not isinstance(path, Path):
        return
    size = sum(each.stat().st_size for each in path.parent.glob(path.name + "*") if each.is_file())
    yield Finding("file", "ok", f"{size / 1e6:,.1f} MB on {file_system(path) or 'unknown'}")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        fix = f"Arguments may contain secrets. Run: chmod go= {path}*"
        yield Finding("rights", "note", f"other users may open it ({mode:o})", fix)
    else:
        yield Finding("rights", "ok", f"only its owner may open it ({mode:o})")
    free = shutil.disk_usage(path.parent).free
    level: Level = "problem" if free < _LITTLE_SPACE else "ok"
    fix = "Jobs cannot be stored on a full disk. Free some space." if level != "ok" else ""
    yield Finding("disk", level, f"{free / 1e6:,.0f} MB free", fix)


def _server(store: Store) -> Iterator[Finding]:
    """Report the findings of the store about its database."""
    for remark in store.examine():
        level: Level = "problem" if remark.is_problem else "note" if remark.fix else "ok"
        yield Finding(remark.name, level, remark.found, remark.fix)


# ---------------------------------------------------------------------- how it goes


def conditions(snapshot: Snapshot) -> Iterator[Finding]:
    """Check workers, queues and schedules."""
    yield from _workers(snapshot)
    yield from _queues(snapshot)
    yield from _parked(snapshot)
    yield from _paused(snapshot)
    yield from _age(snapshot)
    yield from _schedules(snapshot)
    yield from _asked(snapshot)


def _workers(snapshot: Snapshot) -> Iterator[Finding]:
    serving = [worker for worker in snapshot.workers if serves(worker)]
    gone = [worker for worker in snapshot.workers if not worker.alive and worker.running]
    if serving:
        slots = sum(worker.concurrency for worker in serving)
        takes = "takes" if len(serving) == 1 else "take"
        yield Finding("workers", "ok", f"{len(serving)} {takes} jobs, {slots:,} slots")
    else:
        fix = "Start the application, or: afterword worker module:app"
        left = snapshot.left_waiting
        found = f"none takes jobs{f'; {left} {wait_verb(left)} for one' if left else ''}"
        yield Finding("workers", "problem" if left else "note", found, fix)
    if gone:
        ids = ", ".join(worker.id for worker in gone[:3])
        fix = "Start a worker: any running worker recovers their jobs within seconds."
        yield Finding("leases", "problem", f"{many(len(gone), 'worker')} gone, such as {ids}", fix)
    else:
        yield Finding("leases", "ok", "no dead worker holds jobs")


def _queues(snapshot: Snapshot) -> Iterator[Finding]:
    for queue in snapshot.unserved:
        level: Level = "problem" if queue.due and not queue.paused else "note"
        fix = f"Start one: afterword worker module:app --queues {printable(queue.name)}"
        yield Finding("queue", level, f"no worker serves {printable(queue.name)}", fix)
    if not snapshot.unserved:
        yield Finding("queues", "ok", "all queues with jobs are served")


def _parked(snapshot: Snapshot) -> Iterator[Finding]:
    """Find the jobs that no worker could run so far: a forgotten import, a renamed function."""
    fix = (
        "If the function is missing, import its module or restore its name; this lists what may be"
        " called: afterword doctor --app module:app. If the arguments do not fit, let the function"
        " accept them, or delete the job."
    )
    for line in parked_in_words(snapshot.stuck, snapshot.now):
        yield Finding("put back", "problem", line, fix)
    for line in parked_in_words(snapshot.not_stuck, snapshot.now):
        yield Finding("put back", "note", line, fix)
    if not snapshot.parked:
        yield Finding("put back", "ok", "no job waits for a worker that can run it")


def _paused(snapshot: Snapshot) -> Iterator[Finding]:
    for queue in snapshot.held_up:
        name = printable(queue.name)
        found = f"{name} is paused: {due_jobs_wait(queue)}"
        yield Finding("paused", "note", found, f"To resume it: afterword queues resume {name}")
    if not snapshot.held_up:
        yield Finding("paused", "ok", "no queue with due jobs is paused")


def _age(snapshot: Snapshot) -> Iterator[Finding]:
    oldest = snapshot.oldest
    if oldest is None:
        yield Finding("waiting", "ok", "no job is due")
        return
    seconds = snapshot.waits(oldest)
    found = f"the oldest due job has waited for {show_span(seconds)}, in {printable(oldest.name)}"
    fix = "Add workers or slots, or look for hanging tasks: afterword top" * (seconds > STALE)
    yield Finding("waiting", "problem" if fix else "ok", found, fix)


def _schedules(snapshot: Snapshot) -> Iterator[Finding]:
    for each in snapshot.overdue:
        found = f"{printable(each.name)} has created no job since {show_instant(each.next_at)}"
        fix = "Its process cannot write to the store, or its store thread hangs: see its log."
        yield Finding("schedule", "problem", found, fix)
    forgotten = [each for each in snapshot.schedules if is_forgotten(each, snapshot.now)]
    if forgotten:
        names = ", ".join(printable(each.name) for each in forgotten[:3])
        fix = "Start the application, unless they were removed from its code on purpose."
        number = many(len(forgotten), "schedule")
        yield Finding("schedules", "note", f"{number} in no running code, such as {names}", fix)
    elif not snapshot.overdue:
        yield Finding("schedules", "ok", f"{len(snapshot.schedules):,}, none is overdue")


def _asked(snapshot: Snapshot) -> Iterator[Finding]:
    if not snapshot.asked:
        yield Finding("cancelling", "ok", "no running job was asked to end")
        return
    ids = ", ".join(job.id for job in snapshot.asked[:3])
    number = many(len(snapshot.asked), "running job")
    fix = "A `def` task must check for it: while not current_task().cancelled: ..."
    yield Finding("cancelling", "note", f"{number} asked to end, such as {ids}", fix)
