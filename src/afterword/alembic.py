"""For Alembic, if the store is in the application's own database: leave its tables alone.

In migrations/env.py:

    from afterword.alembic import include_name

    context.configure(connection=connection, target_metadata=metadata, include_name=include_name)
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from afterword.store import migrations

SCHEMA = "afterword"  # of the tables in PostgreSQL; in SQLite their names begin with it
_TABLES = frozenset(
    name
    for each in migrations.load("afterword.store.sqlite")
    for name in re.findall(r"^CREATE TABLE (\w+)", each.sql, re.MULTILINE)
)
_TRANSACTION = ("BEGIN", "BEGIN IMMEDIATE", "COMMIT")
_PIECE = re.compile(r"'[^']*'|--[^\n]*|;|[^';-]+|-")
# The last statement of each migration.
_NOTE = re.compile(r"INSERT INTO afterword[._]migrations \(version, oldest\) VALUES \((\d+), ")


def include_name(name: str | None, type_: str, parent_names: Mapping[Any, str | None]) -> bool:
    """Return False for the store's schema and tables, so that autogenerate does not see them.

    It is faster than `include_object`, because the tables are not reflected.

    >>> include_name("afterword", "schema", {}), include_name("users", "table", {})
    (False, True)
    """
    if type_ == "schema":
        return name != SCHEMA
    if type_ == "table":
        return not _is_ours(name, parent_names.get("schema_name"))
    return True


def include_object(
    object: Any,  # Alembic may pass it by this name
    name: str | None,
    type_: str,
    reflected: bool,
    compare_to: Any,
) -> bool:
    """Return False for the store's tables; for use in your own `include_object`.

    Example:
        def include_object(*args):
            return afterword.alembic.include_object(*args) and is_in_this_service(*args)
    """
    return type_ != "table" or not _is_ours(name, getattr(object, "schema", None))


def statements(script: str, after: int = 0) -> Sequence[str]:
    """Split the output of `afterword db sql` into statements for `op.execute`.

    The transaction is left to Alembic.

    Args:
        script: the output.
        after: the version of the database's schema; only later statements are returned.

    Example:
        for statement in statements(Path("afterword.sql").read_text()):
            op.execute(statement)
    """
    found = [text for text in _split(script) if text not in _TRANSACTION]
    notes = [(place, note) for place, text in enumerate(found, 1) if (note := _NOTE.match(text))]
    start = max((place for place, note in notes if int(note[1]) <= after), default=0)
    return found[start:]


def _split(script: str) -> Sequence[str]:
    """Split SQL at its semicolons; comments are left out, as a `:name` in one is a parameter."""
    parts = [""]
    for piece in _PIECE.findall(script):
        if piece == ";":
            parts.append("")
        elif not piece.startswith("--"):
            parts[-1] += piece
    return [text for part in parts if (text := part.strip())]


def _is_ours(table: str | None, schema: str | None) -> bool:
    return schema == SCHEMA or table in _TABLES
