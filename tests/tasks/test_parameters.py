"""The parameters of a task as a form shows them."""

import json
from datetime import datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel

from afterword.tasks.arguments import plan
from afterword.tasks.parameters import parameters_of


class Size(Enum):
    """Sizes of parcels."""

    SMALL = "small"
    LARGE = "large"


class Line(BaseModel):
    """A line of an order."""

    product: str
    number: int
    note: str = ""
    parts: list["Line"] = []


class Endless(BaseModel):
    """A model that needs another one of itself."""

    inner: "Endless"


def ship(  # type: ignore[no-untyped-def]
    order_id: int,
    line: Line,
    size: Size,
    way: Literal["road", "air"],
    when: datetime | None,
    customer: UUID,
    endless: Endless,
    anything: Any,
    untyped,
    *names: str,
    gift: bool = False,
    **more: int,
) -> None:
    """Ship an order."""


def test_the_example_has_the_types_of_the_parameters_without_defaults() -> None:
    example = dict(parameters_of(plan(ship)).example)

    assert json.loads(json.dumps(example.pop("endless")))
    expected = {
        "order_id": 0,
        "line": {"product": "", "number": 0},
        "size": "small",
        "way": "road",
        "when": None,
        "customer": "",
        "anything": None,
        "untyped": None,
    }
    assert expected == example


def test_parameters_are_shown_as_they_are_declared() -> None:
    declared = parameters_of(plan(ship)).declared

    assert "order_id: int" == declared[0]
    assert ["untyped", "*names: str", "gift: bool = False", "**more: int"] == list(declared[-4:])


def test_injected_parameters_are_left_out() -> None:
    assert ["line"] == [
        each.partition(":")[0] for each in parameters_of(plan(_with_db, frozenset({"db"}))).declared
    ]


def _with_db(line: Line, db: object) -> None: ...


class Odd:
    """A default whose text cannot be made."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize("default", [Odd(), "x" * 1_000], ids=["unprintable", "long"])
def test_odd_defaults_are_shown(default: object) -> None:
    def f(a=default): ...  # type: ignore[no-untyped-def]

    (text,) = parameters_of(plan(f)).declared
    assert text.startswith("a=")
    assert len(text) < 100
