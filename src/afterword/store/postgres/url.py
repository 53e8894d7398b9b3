"""The parameters of the driver, from a URL, and the URL as it may be shown."""

from collections.abc import Mapping
from urllib.parse import quote

import psycopg
from psycopg import conninfo

from afterword.errors import ConfigurationError

# A connection that was lost silently is noticed within seconds, not after two hours.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_CONNECT_TIMEOUT = 5  # seconds
# Overrides the setting of the role or database. In the start packet, which poolers pass on.
_ALWAYS = {"client_encoding": "UTF8"}

# Options in URLs for SQLAlchemy's asyncpg, and what libpq has instead.
_OF_ASYNCPG: Mapping[str, str | None] = {
    "ssl": "sslmode",
    "timeout": "connect_timeout",
    "command_timeout": None,
    "statement_cache_size": None,
    "prepared_statement_cache_size": None,
    "prepared_statement_name_func": None,
    "server_settings": None,
    "async_fallback": None,
}


def parameters_of(url: str, timeout: float) -> Mapping[str, object]:
    """Return the parameters to connect with; the URL goes before our defaults.

    Args:
        url: as libpq or SQLAlchemy spell it: postgresql://user:password@host:5432/database?sslmode=require
        timeout: seconds after which data that is not acknowledged ends a connection.

    Raises:
        ConfigurationError: not such a URL.
    """
    _, separator, rest = url.partition("://")
    _refuse_options_of_asyncpg(rest)
    try:
        given = conninfo.conninfo_to_dict(f"postgresql{separator}{rest}")
        _refuse_misread(rest, given)
    except (psycopg.ProgrammingError, ValueError):
        # libpq quotes parts of the URL, perhaps of the password: neither text nor cause is kept.
        raise ConfigurationError(
            "A PostgreSQL URL is postgresql://user:password@host:5432/database, with the options of"
            " libpq behind a '?'. This one cannot be read: special characters in the user's name,"
            " the password or an option must be percent-encoded ('@' is %40, '/' is %2F, '=' is"
            " %3D)."
        ) from None
    defaults = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "tcp_user_timeout": int(timeout * 1000),
        "application_name": "afterword",
        **_KEEPALIVE,
    }
    return {**defaults, **given, **_ALWAYS}


def _refuse_options_of_asyncpg(rest: str) -> None:
    """Refuse options that a URL for SQLAlchemy may have, with the right line.

    Only known names are shown: in a URL that is misread, a name may be a part of the password.
    """
    options = [each.partition("=")[0] for each in rest.partition("?")[2].split("&")]
    for name in options:
        if name in _OF_ASYNCPG:
            libpqs = _OF_ASYNCPG[name]
            right = f"postgresql://...?{libpqs}=..." if libpqs else "postgresql://..."
            raise ConfigurationError(
                f"{name!r} is an option of asyncpg or SQLAlchemy. The store connects with libpq.\n"
                f"    postgresql+asyncpg://...?{name}=...  # incorrect!\n"
                f"    {right}  # correct!"
            )


def _refuse_misread(rest: str, given: Mapping[str, object]) -> None:
    """Refuse a password with an unescaped '@' or '/': libpq reads its end as a host or a path.

    That would be shown in messages, and sent to a name server.

    Raises:
        ValueError: it is one.
    """
    credentials, _, place = rest.partition("?")[0].partition("@")
    misplaced = "@" in f"{given.get('host', '')}{place}" or (place and "/" in credentials)
    ports = str(given.get("port") or "").replace(",", "")
    if misplaced or (ports and not ports.isdecimal()):
        raise ValueError


def shown(parameters: Mapping[str, object]) -> str:
    """Return the URL without password and options, for messages and logs.

    >>> shown({"user": "me", "password": "secret", "host": "db", "dbname": "app"})
    'postgresql://me@db/app'
    """
    user, host = parameters.get("user"), parameters.get("host") or parameters.get("hostaddr")
    port, name = parameters.get("port"), parameters.get("dbname")
    place = f"{quote(str(user))}@" if user else ""
    place += quote(str(host), safe=",:[]") if host else ""
    place += f":{port}" if port else ""
    return f"postgresql://{place}/{quote(str(name)) if name else ''}"
