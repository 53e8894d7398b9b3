"""The schema `afterword` of a database: looked for, made and migrated."""

from collections.abc import Sequence

from afterword.errors import StoreCorrupt, StoreUnavailable
from afterword.store import migrations
from afterword.store.parts import Row
from afterword.store.postgres.session import Session, text_of

_MIGRATE_WITHIN = 3600.0  # seconds, for a large history, or while another process migrates
_MIGRATION_LOCK = 0x41465457  # "AFTW": the key of the advisory lock under which stores migrate
_MIGRATIONS = migrations.load(__package__ or "")


class Schema:
    """Finds, creates and migrates the schema.

    Args:
        session: the one that writes, which no transaction uses meanwhile.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, create: bool) -> str:
        """Find the schema, with `create` create or migrate it; returns the store's identity."""
        if self._missing():
            if not create:
                raise StoreUnavailable(
                    f"{self._session.url} has no Afterword store of this release's schema."
                    " Create or migrate it: afterword db migrate --url ..."
                )
            self._migrate()
        row = self._session.connection().execute(text_of("identity")).fetchone()
        if row is None:
            raise StoreCorrupt(
                f"{self._session.url}: the table afterword.store has lost its only row."
            )
        return str(row[0])

    def _missing(self) -> Sequence[migrations.Migration]:
        connection = self._session.connection()
        # Not to_regclass(): it goes on saying no after we have waited for another's migration.
        exists = connection.execute(
            "SELECT FROM pg_catalog.pg_tables"
            " WHERE schemaname = 'afterword' AND tablename = 'migrations'"
        ).fetchone()
        applied: list[Row] = []
        if exists is not None:
            applied = connection.execute(
                "SELECT version, oldest FROM afterword.migrations"
            ).fetchall()
        rows = [(version, oldest) for version, oldest in applied]
        return migrations.missing(_MIGRATIONS, rows, self._session.url)

    def _migrate(self) -> None:
        """Processes that start together take turns."""
        with self._session.transaction():
            connection = self._session.connection()
            connection.answer_within = _MIGRATE_WITHIN
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL lock_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            for migration in self._missing():
                for statement in statements_of(migration):
                    connection.execute(statement)
        self._session.close()  # the next connection has the usual limits

    def durability(self) -> str:
        """Return the durability of a commit, by the server's settings."""
        settings = ("fsync", "full_page_writes", "synchronous_commit")
        rows = self._session.connection().execute(
            "SELECT setting FROM pg_settings WHERE name = ANY (%s)", [list(settings)]
        )
        return "process-crash" if ("off",) in rows.fetchall() else "power-loss"


def script() -> str:
    """Return all migrations as SQL."""
    statements = [text for each in _MIGRATIONS for text in statements_of(each)]
    return "BEGIN;\n" + ";\n".join(statements) + ";\nCOMMIT;\n"


def statements_of(migration: migrations.Migration) -> Sequence[str]:
    """Return a migration's statements, and the note of it; the first makes the place for both."""
    note = (
        "INSERT INTO afterword.migrations (version, oldest)"  # noqa: S608 - two numbers
        f" VALUES ({migration.version}, {migration.oldest})"
    )
    place = [
        "CREATE SCHEMA IF NOT EXISTS afterword",
        "CREATE TABLE afterword.migrations (version integer PRIMARY KEY, oldest integer NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())",
    ]
    body = [text.strip() for text in migration.sql.split(";\n") if text.strip()]
    return [*(place if migration.version == 1 else []), *body, note]
