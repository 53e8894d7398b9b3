"""Lists as parameters: the server gets them unchanged."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from afterword.store.postgres.arrays import ArrayDumper


@pytest.fixture
def connection(postgres_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection that writes lists as the store does."""
    with psycopg.connect(postgres_url) as connection:
        connection.adapters.register_dumper(list, ArrayDumper)
        yield connection


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", []),
        (
            "text",
            [
                "",
                " ",
                "NULL",
                None,
                "null",
                "a,b",
                "{}",
                '"',
                "\\",
                '\\"',
                "\\n\n\t",
                "ü\U0001f600",
            ],
        ),
        ("bigint", [0, -1, None, 2**63 - 1, -(2**63)]),
        ("boolean", [True, False, None]),
        ("double precision", [0.1, 1e300, None, float("inf")]),
    ],
)
def test_an_array_has_the_values_of_the_list(
    connection: "psycopg.Connection[Any]", kind: str, values: list[Any]
) -> None:
    """They may have any characters."""
    query = f"SELECT CAST(%s AS {kind}[])".encode()

    assert (values,) == connection.execute(query, [values]).fetchone()


def test_the_character_that_the_server_cannot_hold_is_refused(
    connection: "psycopg.Connection[Any]",
) -> None:
    """The driver would cut the text off there."""
    with pytest.raises(psycopg.DataError, match="NUL"):
        connection.execute("SELECT CAST(%s AS text[])", [["a\0b"]])
