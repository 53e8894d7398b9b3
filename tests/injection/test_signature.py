"""Signatures with all forms of annotations."""

import functools
import subprocess
import sys
from typing import Annotated, Any, Optional, Union

import pytest
from typing_extensions import TypeAliasType

from afterword.tasks.signature import hint, hints, name_of, parameters, resolved

Alias = TypeAliasType("Alias", Annotated[int, "alias"])


class Callables:
    """A class with callable objects."""

    def __call__(self, x: "int") -> None: ...


class WithInit:
    """A class whose parameters are those of its constructor."""

    def __init__(self, x: "int") -> None: ...


def by_string(x: "int", y: "Annotated[int, 'said']") -> None: ...


@pytest.mark.parametrize(
    ("annotation", "bare", "metadata"),
    [
        (int, int, ()),
        (Annotated[int, "a", "b"], int, ("a", "b")),
        (Annotated[int | None, "a"], int, ("a",)),
        (Annotated[int, "a"] | None, int, ("a",)),
        (Optional[int], int, ()),  # noqa: UP045
        (Union[int, str], Union[int, str], ()),  # noqa: UP007
        (int | str | None, int | str | None, ()),
        (Alias, int, ("alias",)),
        (Annotated[Alias, "outer"], int, ("outer", "alias")),
        ("Unknown", "Unknown", ()),
    ],
)
def test_an_annotation_taken_apart(annotation: Any, bare: Any, metadata: tuple[str, ...]) -> None:
    found = hint(annotation)

    assert (bare, metadata) == (found.bare, found.metadata)


@pytest.mark.parametrize(
    "func", [Callables(), Callables().__call__, WithInit, functools.partial(by_string, y=1)]
)
def test_the_annotations_of_any_callable(func: Any) -> None:
    assert int is parameters(func)[0].annotation


def test_string_annotations_are_resolved() -> None:
    assert [(int, ()), (int, ("said",))] == [(h.bare, h.metadata) for _, h in hints(by_string)]


def test_what_cannot_be_resolved_stays() -> None:
    def half(x: "int", y: "Unknown", z: "list[Unknown]") -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert [int, "Unknown", "list[Unknown]"] == [p.annotation for p in parameters(half)]
    assert "Unknown" == resolved("Unknown", {})


def test_what_has_no_signature_has_no_hints() -> None:
    assert [] == list(hints(type))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has the statement")
def test_the_statement_type() -> None:
    """The statement is new in Python 3.12."""
    source = (
        "from typing import Annotated; from afterword.tasks.signature import hint\n"
        "type X = Annotated[int, 'x']\n"
        "print(hint(X).metadata)"
    )
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)

    assert b"('x',)" == result.stdout.strip()


def test_names() -> None:
    assert "by_string" == name_of(functools.partial(functools.partial(by_string, 1), 2))
    assert "Callables" == name_of(Callables())
