"""`afterword export` and `import`: all jobs of a store, as lines of text."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer

from afterword.cli import output
from afterword.cli.options import Json, Url, opened
from afterword.cli.pages import pages
from afterword.errors import ConfigurationError, safe_repr
from afterword.model.job import JobRecord
from afterword.model.records import Filter
from afterword.store import archive
from afterword.store.protocol import Store

_BATCH = 500  # jobs per transaction, a few more if they belong together
_STANDARD = Path("-")


def export(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="A new file, or - for standard output.")
    ] = _STANDARD,
    url: Url = None,
) -> None:
    """Write all jobs of a store as lines of JSON.

    With their arguments and errors. Stop the workers first: what changes meanwhile is written as it
    was when its turn came.

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
    output.tell(f"Exported {output.many(number, 'job')}.")


@contextmanager
def _writing(file: Path) -> Iterator[TextIO]:
    """Where the lines go; a file appears under its name when it is complete."""
    if file == _STANDARD:
        yield sys.stdout
        return
    if file.exists():
        raise ConfigurationError(f"An export is a new file, but {file} exists. Choose another.")
    partial = file.with_name(file.name + ".part")
    try:
        # Arguments may be secrets: for the owner only, as the store is.
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
            f"Warning: workers use this store now ({live}). Jobs that change meanwhile may be"
            " written as they were: stop the workers first."
        )


# ---------------------------------------------------------------------- import


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="An export, or - for standard input.")
    ] = _STANDARD,
    url: Url = None,
    json: Json = False,
) -> None:
    """Add the jobs of an export to another store.

    One that `afterword db migrate` has made. The whole file is checked first: if one line cannot be
    imported, none is. Jobs that are there already are left as they are, so an import can be
    repeated. Running jobs are queued again; queued ones start as soon as a worker sees them.

    \b
    Examples:
      afterword import jobs.jsonl --url postgresql://db/app
      afterword export | afterword import --url postgresql://db/app
    """
    with opened(url) as store, _reading(file) as source:
        _check(store, archive.read(source))
        source.seek(0)
        added, known = _import_all(store, archive.read(source))
    if json:
        output.print_document({"imported": added, "already_there": known})
    else:
        output.write(f"imported {output.many(added, 'job')}, {known:,} were there already\n")


@contextmanager
def _reading(file: Path) -> Iterator[TextIO]:
    """The file, or a copy of what cannot be read twice."""
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
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigurationError(f"{file} cannot be read: {reason}.") from error


@contextmanager
def _copy(source: TextIO) -> Iterator[TextIO]:
    """Without a name, and for its owner only: arguments may be secrets."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _check(store: Store, records: Iterator[JobRecord]) -> None:
    """Refuse the file before anything of it is imported.

    Raises:
        ConfigurationError: a line cannot be imported; or a job cannot, because of another.
    """
    for key, job_id in archive.check_together(_as_far_as_it_goes(records)).items():
        other = store.with_key(key, ended=False)
        if other is not None and other.id != job_id and not store.get([job_id]):
            raise ConfigurationError(
                f"The file cannot be imported: the unfinished job {other.id} of the store has the"
                f" unique key {safe_repr(key)} of job {job_id}. Wait until it has ended, or end it:"
                f" afterword cancel {other.id}"
            )


def _as_far_as_it_goes(records: Iterator[JobRecord]) -> Iterator[JobRecord]:
    """That the end is missing is told once what is there has been imported."""
    with suppress(archive.CutOff):
        yield from records


def _import_all(store: Store, records: Iterator[JobRecord]) -> tuple[int, int]:
    """How many were added, and how many were there."""
    added = known = 0
    for batch in _batches(archive.arranged(records)):
        accepted = store.restore(batch)
        added += sum(accepted)
        known += len(batch) - sum(accepted)
    return added, known


def _batches(groups: Iterator[list[JobRecord]]) -> Iterator[list[JobRecord]]:
    """Whole groups, until they make a batch; those before a bad line, too."""
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
