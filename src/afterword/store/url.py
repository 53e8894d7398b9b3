"""A store's URL in messages: it may hold a password, in any place."""

import re

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}://")
_PATH = re.compile(r"sqlite(\+pysqlite)?://[^@?]*")


def masked(url: object) -> str:
    """Return an invalid URL without possible secrets: only a path is kept.

    For valid URLs, use `Store.url`.

    >>> masked("sqlite:///jobs.db"), masked("mysql://me:pass/w@rd@db/app"), masked("password=x")
    ("'sqlite:///jobs.db'", "'mysql://...'", 'text without a scheme')
    """
    if not isinstance(url, str):
        return f"of the type {type(url).__qualname__}"
    if _PATH.fullmatch(url):
        return repr(url)
    scheme = _SCHEME.match(url)
    return f"'{scheme[0]}...'" if scheme else "text without a scheme"
