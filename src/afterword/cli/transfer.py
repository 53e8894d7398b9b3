"""`afterword export` and `import`: all jobs of a store, as lines of JSON."""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer

from afterword.admin.words import many
from afterword.cli import output
from afterword.cli.options import Json, Url, opened
from afterword.cli.person import this_person
from afterword.errors import ConfigurationError, safe_repr
from afterword.model.audit import Actor
from afterword.model.job import JobRecord
from afterword.model.records import Filter
from afterword.store import archive
from afterword.store.paging import pages
from afterword.store.protocol import Store

_BATCH = 500  # jobs per transaction; more if they belong together
_STANDARD = Path("-")


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")
    ] = _STANDARD,
    url: Url = None,
) -> None:
    """Write all jobs of a store as lines of JSON.

    The lines include arguments and errors. Stop the workers first: a job that changes meanwhile is
    written as it was when it was read. Only jobs are exported: neither their earlier attempts and
    logs, nor counters, the audit, and rules of queues and schedules.

    \b
    Examples:
      afterword export jobs.jsonl
      afterword export | afterword import --url postgresql://db/app
    """
    with opened(url) as store, _writing(file) as target:
        _tell_live_workers(store)
        target.write(archive.header())
        number = 0
        for page in pages(store, Filter()):
            target.writelines(map(archive.line_of, page))
            number += len(page)
        target.write(archive.footer(number))
        rules = list(_rules(store))
    output.tell(f"Exported {many(number, 'job')}.")
    if rules:
        output.tell("An export has jobs only. These rules have to be set again in the other store:")
        for words in rules:
            output.tell(f"    {shlex.join(['afterword', *words])}")


def _rules(store: Store) -> Iterator[tuple[str, ...]]:
    """Yield the commands that set the rules of queues and schedules again."""
    for queue in store.queues():
        if queue.paused:
            yield "queues", "pause", queue.name
        if queue.concurrency is not None:
            yield "queues", "limit", queue.name, str(queue.concurrency)
    for schedule in store.schedules():
        if schedule.paused:
            yield "schedules", "pause", schedule.name


@contextmanager
def _writing(file: Path) -> Iterator[TextIO]:
    """Open the target of the lines; a file appears under its name once it is complete."""
    if file == _STANDARD:
        yield sys.stdout
        return
    if file.exists():
        raise ConfigurationError(
            f"An export must go to a new file, but {file} exists. Choose another name."
        )
    partial = file.with_name(file.name + ".part")
    try:
        # Arguments may contain secrets: only the owner may read the file, as with the store.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as target:  # noqa: PTH123 - a descriptor
            yield target
        partial.rename(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _tell_live_workers(store: Store) -> None:
    live = sum(worker.alive for worker in store.workers())
    if live:
        output.tell(
            f"Warning: {many(live, 'worker')} may change jobs of this store during the"
            " export, so it may be outdated. Stop the workers first."
        )


# ---------------------------------------------------------------------- import


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An export, or - for standard input.")
    ] = _STANDARD,
    url: Url = None,
    json: Json = False,
) -> None:
    """Add the jobs of an export to another store.

    Create the store with `afterword db migrate` first. The whole file is checked first: if one
    line cannot be imported, none is. Jobs that exist already are not changed, so an import can be
    repeated. Running jobs are queued again; queued ones start as soon as a worker claims them.

    \b
    Examples:
      afterword import jobs.jsonl --url postgresql://db/app
      afterword export | afterword import --url postgresql://db/app
    """
    with opened(url) as store, _reading(file) as source:
        _check(store, archive.read(source))
        source.seek(0)
        added, known = _import_all(store, archive.read(source), this_person().on_all(file.name))
    if json:
        output.print_document({"imported": added, "already_there": known})
    else:
        output.write(f"imported {many(added, 'job')}, {known:,} existed already\n")


@contextmanager
def _reading(file: Path) -> Iterator[TextIO]:
    """Open the file, or a copy of an input that cannot be read twice."""
    try:
        if file != _STANDARD:
            with file.open(encoding="utf-8") as source:
                if source.seekable():
                    yield source
                else:
                    with _copy(source) as copy:
                        yield copy
            return
        if sys.stdin is None:
            raise ConfigurationError("Standard input is closed. Name the file to import.")
        sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr] # whatever the locale
        with _copy(sys.stdin) as copy:
            yield copy
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{file} cannot be read: {reason}.") from error


@contextmanager
def _copy(source: TextIO) -> Iterator[TextIO]:
    """Copy into a file without a name that only its owner can read: arguments may be secret."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _check(store: Store, records: Iterator[JobRecord]) -> None:
    """Refuse a bad file before any of it is imported.

    Raises:
        ConfigurationError: a line cannot be imported, or a job conflicts with another one.
    """
    for key, job_id in archive.check_together(_as_far_as_it_goes(records)).items():
        other = store.with_key(key, ended=False)
        if other is not None and other.id != job_id and not store.get([job_id]):
            raise ConfigurationError(
                f"Unfinished jobs must have different unique keys, but job {job_id} of the file and"
                f" job {other.id} of the store have the same one, {safe_repr(key)}. Wait until the"
                f" latter has ended, or run: afterword cancel {other.id}"
            )


def _as_far_as_it_goes(records: Iterator[JobRecord]) -> Iterator[JobRecord]:
    """Yield the records of a file that was cut off; the import itself reports the missing end."""
    with suppress(archive.CutOff):
        yield from records


def _import_all(store: Store, records: Iterator[JobRecord], by: Actor) -> tuple[int, int]:
    """Import all records; return how many were added, and how many existed already."""
    added = known = 0
    for batch in _batches(archive.arranged(records)):
        with store.transaction():
            accepted = store.restore(batch)
            store.note("import", [], sum(accepted), by)
        added += sum(accepted)
        known += len(batch) - sum(accepted)
    return added, known


def _batches(groups: Iterator[list[JobRecord]]) -> Iterator[list[JobRecord]]:
    """Join whole groups into batches; the groups before a bad line are included."""
    batch: list[JobRecord] = []
    try:
        for group in groups:
            batch += group
            if len(batch) >= _BATCH:
                yield batch
                batch = []
    except ConfigurationError:
        yield batch
        raise
    if batch:
        yield batch
