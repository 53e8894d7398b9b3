"""A PostgreSQL database with unexpected settings."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgres import Server, database_of

# Settings that a role or a database may have; each of them has caused a fault.
SETTINGS = {
    "TimeZone": "'Pacific/Kiritimati'",  # fourteen hours before UTC
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "search_path": "mischief, pg_catalog",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "'700ms'",
    "lock_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'300ms'",
    "idle_session_timeout": "'3s'",  # ours are idle for a moment before they switch it off
    "jit": "on",
    "jit_above_cost": "0",
}
MISCHIEF = """
CREATE SCHEMA mischief;
CREATE FUNCTION mischief.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT to_timestamp(0)';
CREATE FUNCTION mischief.clock_timestamp() RETURNS timestamptz LANGUAGE sql
    AS 'SELECT to_timestamp(0)';
CREATE FUNCTION mischief.to_timestamp(double precision) RETURNS timestamptz LANGUAGE sql
    AS 'SELECT pg_catalog.to_timestamp(0)';
"""


@contextmanager
def hostile_database(server: Server) -> Iterator[str]:
    """Create a database with these settings; yields its URL."""
    with server.database() as url:
        name = database_of(url)
        server.execute(MISCHIEF, name)
        for setting, value in SETTINGS.items():
            server.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        yield url
