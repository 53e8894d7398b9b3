"""The store of a URL: its scheme decides which one.

Each store is imported only if it is needed, because PostgreSQL's needs a driver.
"""

import json
import os

from afterword.errors import ConfigurationError
from afterword.store.protocol import Store
from afterword.store.url import masked

STORES_OF_TESTS = "AFTERWORD_STORES_OF_TESTS"  # an environment variable


def url_in_child(url: str) -> str:
    """Return the URL of the store that stands in for this one in processes that tests start.

    The pytest plugin gives it to them, as JSON: {"usual URL": "URL of a store for tests"}.
    """
    found: str = json.loads(os.environ.get(STORES_OF_TESTS, "{}")).get(url, url)
    return found


def open_store(url: str) -> Store:
    """The store of a URL in SQLAlchemy's manner, not yet opened.

    Raises:
        ConfigurationError: unknown scheme, or a path that cannot be a store.
        MissingExtra: the driver of this kind of store is not installed.
    """
    if not isinstance(url, str):
        raise ConfigurationError(
            f"A store URL is text such as 'sqlite:///jobs.db', but this is {masked(url)}."
        )
    scheme, found, _ = url.partition("://")
    scheme = scheme if found else ""
    if scheme in ("sqlite", "sqlite+pysqlite"):
        from afterword.store.sqlite import SQLiteStore

        return SQLiteStore.from_url(url)
    # SQLAlchemy's name of a driver may follow: the application's own URL can be given as it is.
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        from afterword.store.postgres import PostgresStore

        return PostgresStore(url)
    if scheme.startswith("sqlite+"):
        driver = scheme.removeprefix("sqlite+")
        raise ConfigurationError(
            f"The store does not use the driver {driver!r}, but it can share the file.\n"
            f'    Afterword(app, "{scheme}:///app.db")  # incorrect!\n'
            '    Afterword(app, "sqlite+pysqlite:///app.db")  # correct! with your own tables\n'
            '    Afterword(app, "sqlite:///jobs.db")  # correct! a file for the jobs alone'
        )
    raise ConfigurationError(
        "A store URL starts with sqlite://, sqlite+pysqlite:// or postgresql://, but"
        f" this one is {masked(url)}. Examples: sqlite:///jobs.db (relative path),"
        " sqlite:////var/lib/app/jobs.db (absolute), postgresql://user:password@host/database."
    )
