"""Schemas grow by numbered files, `migrations/0001_initial.sql` and so on.

During a rolling deploy two releases use one store. So a migration only adds, and code for an older
schema keeps working. If that is not possible, the first line of the file names the oldest schema
whose code may still use the store:

    -- oldest: 3

Code for an older schema refuses the store.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

from afterword.errors import SchemaTooNew


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, the oldest schema that code must know to work with it, its SQL."""

    version: int
    oldest: int
    sql: str


@functools.cache
def load(package: str) -> Sequence[Migration]:
    """The migrations in a package's folder `migrations`, in order."""
    files = (resources.files(package) / "migrations").iterdir()
    texts = {file.name: file.read_text() for file in files if file.name.endswith(".sql")}
    return [_migration(name, texts[name]) for name in sorted(texts)]


def _migration(name: str, text: str) -> Migration:
    stated = re.match(r"-- oldest: (\d+)\n", text)
    return Migration(int(name.partition("_")[0]), int(stated[1]) if stated else 1, text)


def missing(
    migrations: Sequence[Migration], applied: Iterable[tuple[int, int]], url: str
) -> Sequence[Migration]:
    """The migrations that a store does not have yet.

    Args:
        applied: (version, oldest) of those it has.

    Raises:
        SchemaTooNew: a newer release has migrated it to a schema that this one cannot use.

    >>> first = Migration(1, 1, "CREATE ...")
    >>> missing([first], [], "sqlite:///jobs.db") == [first]
    True
    >>> missing([first], [(1, 1), (2, 1)], "sqlite:///jobs.db")  # newer, and it only adds
    []
    """
    known = max(migration.version for migration in migrations)
    rows = sorted(applied)
    oldest = max((oldest for _, oldest in rows), default=1)
    if oldest > known:
        raise SchemaTooNew(
            f"{url} has schema {rows[-1][0]}, which needs code that knows schema {oldest}, but this"
            f" release of Afterword knows schemas up to {known}."
            " Upgrade it here too: older code must not write."
        )
    done = {version for version, _ in rows}
    return [migration for migration in migrations if migration.version not in done]
