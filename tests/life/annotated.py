"""Kinds of annotations that FastAPI's users write, with values, and a task for each."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pydantic
from hypothesis import strategies as st
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from afterword import task
from afterword.tasks.encoding import READS_NAMES

T = TypeVar("T")


class Aliased(BaseModel):
    """One alias for reading and for writing."""

    first_name: str = Field(alias="firstName")
    born: date | None = Field(None, alias="bornOn")


class Camel(BaseModel):
    """Aliases of a generator, beside the names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    first_name: str
    last_name: str = "Lovelace"


class Split(BaseModel):
    """One alias for reading, another one for writing."""

    first_name: str = Field(validation_alias="fn", serialization_alias="FN")


class ReadOnlyAlias(BaseModel):
    """Several aliases for reading."""

    name: str = Field(validation_alias=AliasChoices("label", AliasPath("names", 0)))


class WriteOnlyAlias(BaseModel):
    """An alias for the answer only."""

    name: str = Field(serialization_alias="@name")


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]
    next: int | None = None


class Square(BaseModel):
    """Computed fields, one of them cached, in a model that forbids unknown fields."""

    model_config = ConfigDict(extra="forbid")
    side: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        """Compute a new value each time."""
        return self.side**2

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @cached_property
    def perimeter(self) -> int:
        """Compute a value that is kept in the model's `__dict__`."""
        return 4 * self.side


class Cat(BaseModel):
    """A variant of a union, chosen by a tag with a default."""

    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    """Another variant, with the same tag."""

    kind: Literal["dog"] = "dog"
    name: str = "Rex"


class Circle(BaseModel):
    """A variant of a union, chosen by a tag with an alias."""

    shape: Literal["circle"] = Field("circle", alias="@type")


class Line(BaseModel):
    """Another variant, with the same alias."""

    shape: Literal["line"] = Field("line", alias="@type")


class Parcel(BaseModel):
    """Defaults from factories, different each time."""

    id: UUID = Field(default_factory=uuid4)
    packed_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    weight: Decimal = Decimal("1.50")


class Order(BaseModel):
    """Models in models, in lists and in dictionaries."""

    parcels: list[Parcel] = []
    by_id: dict[UUID, Parcel] = {}
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat()


class Loose(BaseModel):
    """A default that its annotation does not allow, as Pydantic permits."""

    size: int = None  # type: ignore[assignment]
    weight: int = 1


class Extra(BaseModel):
    """A model that accepts unknown fields."""

    model_config = ConfigDict(extra="allow")
    name: str = "A"


class Names(RootModel[list[Camel]]):
    """A model that is a list."""


class Key(BaseModel):
    """A hashable model, for sets."""

    model_config = ConfigDict(frozen=True)
    number: int
    size: int = 1


@dataclass
class Point:
    """A dataclass of the standard library."""

    x: int
    pet: Cat = field(default_factory=Cat)


@pydantic.dataclasses.dataclass
class Aliases:
    """A dataclass of pydantic."""

    x: int = Field(alias="X")


class Options(TypedDict, total=False):
    """A dictionary with known keys."""

    retries: int
    parcel: Parcel


class Place(NamedTuple):
    """A tuple with names."""

    row: int
    pet: Dog


class Color(enum.StrEnum):
    """An enum."""

    RED = "red"
    BLUE = "blue"


def with_perimeter(square: Square) -> Square:
    """Return the model after a use of its cached property."""
    assert square.perimeter == 4 * square.side
    return square


BERLIN = ZoneInfo("Europe/Berlin")
SKIPPED_AND_REPEATED = (
    datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
)
numbers = st.integers(-(2**53), 2**53)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
parcels = st.builds(Parcel) | st.builds(
    Parcel, id=st.uuids(), weight=st.decimals("0", "9", places=2)
)
pets = st.builds(Cat) | st.builds(Cat, lives=numbers) | st.builds(Dog) | st.builds(Dog, name=words)
camels = st.builds(Camel, first_name=words) | st.builds(Camel, firstName=words, lastName=words)
squares = st.builds(Square, side=numbers)
orders = st.builds(Order) | st.builds(
    Order,
    parcels=st.lists(parcels, max_size=2),
    by_id=st.dictionaries(st.uuids(), parcels, max_size=2),
    pet=pets,
)

KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "alias": (Aliased, st.builds(Aliased, firstName=words, bornOn=st.none() | st.dates())),
    "alias_generator": (Camel, camels),
    "generic": (Page[Parcel], st.builds(Page[Parcel], items=st.lists(parcels, max_size=2))),
    "generic_of_numbers": (Page[int], st.builds(Page[int], items=st.lists(numbers), next=numbers)),
    "computed": (Square, squares | squares.map(with_perimeter)),
    "union": (Annotated[Cat | Dog, Field(discriminator="kind")], pets),
    "union_by_alias": (
        Annotated[Circle | Line, Field(discriminator="shape")],
        st.builds(Circle) | st.builds(Line),
    ),
    "union_with_none": (Cat | Dog | None, pets | st.none()),
    "factories": (Parcel, parcels),
    "loose_default": (Loose, st.builds(Loose) | st.builds(Loose, size=numbers)),
    "nested": (Order, orders),
    "extra": (Extra, st.builds(Extra) | st.builds(Extra, more=numbers, name=words)),
    "root": (Names, st.builds(Names, st.lists(camels, max_size=2))),
    "frozen_in_a_set": (
        set[Key],
        st.sets(st.builds(Key, number=numbers, size=numbers), max_size=3),
    ),
    "dataclass": (Point, st.builds(Point, numbers) | st.builds(Point, numbers, st.builds(Cat))),
    "pydantic_dataclass": (Aliases, st.builds(Aliases, X=numbers)),
    "typed_dict": (Options, st.builds(Options, retries=numbers, parcel=parcels)),
    "named_tuple": (Place, st.builds(Place, numbers, st.builds(Dog))),
    "enum": (Color, st.sampled_from(Color)),
    "annotated": (Annotated[int, Field(ge=0)], st.integers(0, 2**40)),
    "list": (list[Aliased], st.lists(st.builds(Aliased, firstName=words), max_size=3)),
    "tuple": (tuple[Parcel, ...], st.lists(parcels, max_size=2).map(tuple)),
    "iterable": (Iterable[Parcel], st.lists(parcels, max_size=2)),
    "mapping": (dict[str, Parcel | int], st.dictionaries(words, parcels | numbers, max_size=2)),
    "bytes": (bytes | None, st.binary(max_size=5)),
    "id": (UUID, st.uuids()),
    "moment": (datetime, st.datetimes(timezones=st.just(UTC))),
    "changing_clocks": (datetime, st.sampled_from(SKIPPED_AND_REPEATED)),
    "amount": (Decimal, st.decimals("-9", "9", places=3)),
    "anything": (Any, st.none() | words | st.lists(numbers, max_size=3)),
}
if READS_NAMES:
    KINDS["split_alias"] = Split, st.builds(Split, fn=words)
    KINDS["read_only_alias"] = ReadOnlyAlias, st.builds(ReadOnlyAlias, label=words)
    KINDS["write_only_alias"] = WriteOnlyAlias, st.builds(WriteOnlyAlias, name=words)

received: list[Any] = []


def echo_task(name: str, annotation: Any, **options: Any) -> Callable[..., Any]:
    """Make a task that takes and returns values of an annotation; its name is this module's."""

    def echo(value: Any) -> Any:
        received.append(value)
        return value

    echo.__annotations__ = {"value": annotation, "return": annotation}
    echo.__qualname__ = echo.__name__ = name
    globals()[name] = echo
    return task(**options)(echo) if options else echo


HERE = {name: echo_task(f"echo_{name}", kind) for name, (kind, _) in KINDS.items()}
IN_PROCESS = {
    name: echo_task(f"process_{name}", kind, executor="process")
    for name, (kind, _) in KINDS.items()
}


def fields_set(value: Any) -> list[list[str]]:
    """List the fields that were set, for each model in a value, from the outside in."""
    if isinstance(value, BaseModel):
        inner = [names for each in value.__dict__.values() for names in fields_set(each)]
        return [sorted(value.model_fields_set), *inner]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [names for each in value for names in fields_set(each)]
    return fields_set(value.pet) if isinstance(value, Point) else []


@task(executor="process")
def fields_set_of(order: Order, place: Place) -> list[list[str]]:
    """Return the fields set in two arguments, as a task in a child process sees them."""
    return fields_set([order, place])
