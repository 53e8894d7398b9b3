"""Alembic with a store in the application's own database: the real command, on real databases."""

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from afterword.alembic import include_name, include_object, statements
from afterword.store.opening import open_store
from tests import warm
from tests.helpers import ROOT

MODELS = """
from sqlalchemy import Column, Integer, MetaData, Table

metadata = MetaData()
Table("users", metadata, Column("id", Integer, primary_key=True))
Table("afterword_notes", metadata, Column("id", Integer, primary_key=True))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that the application and the store share."""
    if request.param == "sqlite":
        return f"sqlite+pysqlite:///{tmp_path / 'app.db'}"
    return str(request.getfixturevalue("new_postgres_url"))


class Project:
    """An application with migrations, as `alembic init` makes them.

    Args:
        options: added to the call of `context.configure` in env.py.
    """

    def __init__(self, folder: Path, url: str, options: str) -> None:
        self.folder = folder
        self._versions = folder / "migrations" / "versions"
        (folder / "models.py").write_text(MODELS)
        self.run("init", "migrations")
        self._replace(
            "alembic.ini", r"sqlalchemy.url = .*", f"sqlalchemy.url = {of_sqlalchemy(url)}"
        )
        self._replace("migrations/env.py", "target_metadata = None", IMPORTS)
        self._replace(
            "migrations/env.py",
            r"connection=connection, target_metadata=target_metadata",
            f"connection=connection, target_metadata=target_metadata, {options}",
        )

    def _replace(self, file: str, pattern: str, text: str) -> None:
        path = self.folder / file
        changed, count = re.subn(pattern, lambda _: text, path.read_text())
        assert 1 == count, path.read_text()
        path.write_text(changed)

    def run(self, *arguments: str) -> str:
        """Run alembic; returns what it prints."""
        done = warm.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    def autogenerate(self) -> str:
        """Return the upgrade that `alembic revision --autogenerate` writes."""
        self.run("revision", "--autogenerate", "-m", "generated")
        (path,) = self._versions.glob("*_generated.py")
        return path.read_text().partition("def downgrade")[0]

    def add_migration(self, code: str, script: str) -> None:
        """Add a migration with this code, and a file with SQL beside it."""
        self.run("revision", "-m", "afterword")
        (path,) = self._versions.glob("*_afterword.py")
        path.with_suffix(".sql").write_text(script)
        head = path.read_text().partition("def upgrade")[0]
        path.write_text(head + code)


IMPORTS = """
from afterword.alembic import include_name, include_object
from models import metadata as target_metadata
"""


def of_sqlalchemy(url: str) -> str:
    """Return the URL for SQLAlchemy and its drivers; % is special in an ini file."""
    return url.replace("postgresql://", "postgresql+psycopg://").replace("%", "%%")


@pytest.mark.parametrize(
    "options",
    ["include_name=include_name", "include_object=include_object, include_schemas=True"],
)
def test_autogenerate_leaves_the_store_alone(url: str, options: str, tmp_path: Path) -> None:
    """The application's own tables are seen as before, also those with similar names."""
    store = open_store(url)
    store.open()
    store.close()
    run_sql(url, "CREATE TABLE old_users (id integer)")
    migration = Project(tmp_path, url, options).autogenerate()

    assert ["old_users"] == re.findall(r"drop_table\('(\w+)'", migration)
    assert {"users", "afterword_notes"} == set(re.findall(r"create_table\('(\w+)'", migration))
    assert "drop_index" not in migration


def test_without_it_the_tables_would_be_dropped(url: str, tmp_path: Path) -> None:
    """If Alembic changed, the other test could pass without the filter."""
    store = open_store(url)
    store.open()
    store.close()
    migration = Project(tmp_path, url, "include_schemas=True").autogenerate()

    assert "drop_table('afterword_jobs'" in migration or "drop_table('jobs'" in migration


def test_the_tables_can_be_made_by_a_migration(url: str, tmp_path: Path) -> None:
    """The page shows it, with the output of `afterword db sql`."""
    page = (ROOT / "docs/alembic.md").read_text()
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "upgrade" in each]
    command = [sys.executable, "-m", "afterword", "db", "sql", "--url", url]
    script = warm.run(command, capture_output=True, text=True, check=True).stdout
    project = Project(tmp_path, url, "include_name=include_name")
    project.add_migration(code, script)
    project.run("upgrade", "head")

    store = open_store(url)
    store.open(create=False)
    assert store.identity
    store.close()
    if url.startswith("postgres"):
        project.run("downgrade", "base")
        project.run("upgrade", "head")


@pytest.mark.parametrize(
    "url", ["sqlite:///app.db", "sqlite+pysqlite:///app.db", "postgresql://host/app"]
)
def test_what_the_database_has_already_is_left_out(url: str) -> None:
    """Each release adds statements at the end, after the note of the version before."""
    script = open_store(url).script()
    whole, rest = statements(script), statements(script, after=2)

    assert list(whole[-len(rest) :]) == list(rest)
    assert "VALUES (2, " in whole[-len(rest) - 1]
    assert len(whole) == len(statements(script, after=0))
    assert not any("BEGIN" in each or "COMMIT" in each for each in whole)


def test_what_is_no_table_is_not_looked_at() -> None:
    """Alembic asks about columns and indexes of tables that are included."""
    assert include_name("jobs", "index", {"schema_name": None, "table_name": "users"})
    assert include_object(None, "jobs", "column", True, None)


def run_sql(url: str, statement: str) -> None:
    """Run a statement of the application."""
    if url.startswith("postgres"):
        with psycopg.connect(url) as connection:
            connection.execute(statement)
    else:
        with closing(sqlite3.connect(url.partition(":///")[2])) as database:
            database.execute(statement)
            database.commit()
