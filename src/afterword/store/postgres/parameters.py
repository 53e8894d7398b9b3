"""Parameters of statements: stores write `:name`, the drivers want other signs."""

import functools
import re

_NAMED = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")  # not the second colon of a `::cast`


@functools.cache
def pyformat(sql: str) -> str:
    """Return it with psycopg's parameters.

    >>> pyformat("SELECT :id::uuid, 7 % 2")
    'SELECT %(id)s::uuid, 7 %% 2'
    """
    return _NAMED.sub(r"%(\1)s", sql.replace("%", "%%"))


@functools.cache
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return it with asyncpg's parameters, and their names in the order of the numbers.

    >>> numbered("SELECT :a::int, :b, :a")
    ('SELECT $1::int, $2, $1', ('a', 'b'))
    """
    names = tuple(dict.fromkeys(_NAMED.findall(sql)))
    return _NAMED.sub(lambda match: f"${names.index(match[1]) + 1}", sql), names
