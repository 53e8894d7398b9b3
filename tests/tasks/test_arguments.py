"""Arguments: bound when they are added, stored as JSON, and equal again in the task."""

import collections
import enum
import functools
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from typing_extensions import TypedDict, Unpack

from afterword.errors import (
    ArgumentError,
    ArgumentValueError,
    InjectedArgumentError,
    NotStorable,
)
from afterword.tasks.arguments import plan
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, same

if TYPE_CHECKING:
    from nowhere import OnlyForTypeCheckers  # type: ignore[import-not-found]


def round_trip(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return the task's arguments, bound to its parameters, after a round trip through JSON."""
    planned = plan(func)
    text = planned.encode(args, kwargs)
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    back_args, back_kwargs = planned.decode(text)
    return planned.signature.bind(*back_args, **back_kwargs).arguments


# ---------------------------------------------------------------------- types


class Color(enum.Enum):
    """An enum of texts."""

    RED = "red"
    BLUE = "blue"


class Number(enum.IntEnum):
    """A number with a name."""

    ONE = 1


class Permission(enum.Flag):
    """An enum of flags."""

    READ = enum.auto()
    WRITE = enum.auto()


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: float = 0.5
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A dataclass without a `__dict__`."""

    point: Point
    color: Color


class User(BaseModel):
    """A model within a model."""

    name: str
    born: date | None = None
    home: Frozen | None = None


class Place(NamedTuple):
    """A tuple with names."""

    row: int
    column: int


class Options(TypedDict, total=False):
    """A dict with known keys."""

    retries: int
    name: str


TYPED = {
    "model": (User, User(name="Ada", born=date(1815, 12, 10))),
    "model-unset-fields": (User, User(name="Ada")),
    "nested": (User, User(name="A", home=Frozen(Point(1), Color.BLUE))),
    "dataclass": (Point, Point(1, 2.5, ["a"])),
    "frozen-dataclass": (Frozen, Frozen(Point(-1), Color.RED)),
    "uuid": (uuid.UUID, uuid.UUID(int=5)),
    "decimal": (Decimal, Decimal("1.10")),
    "decimal-exponent": (Decimal, Decimal("1E+400")),
    "datetime-naive": (datetime, datetime(2020, 2, 29, 12)),  # noqa: DTZ001
    "datetime-utc": (datetime, datetime(2020, 2, 29, 12, microsecond=1, tzinfo=UTC)),
    "datetime-offset": (datetime, datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-5)))),
    "date": (date, date(1, 1, 1)),
    "time": (time, time(23, 59, 59, 999_999)),
    "timedelta": (timedelta, timedelta(days=-1, microseconds=1)),
    "enum": (Color, Color.RED),
    "int-enum": (Number, Number.ONE),
    "flag": (Permission, Permission.READ | Permission.WRITE),
    "set": (set[int], {1, 2, 3}),
    "frozenset": (frozenset[str], frozenset("ab")),
    "bytes": (bytes, bytes(range(256))),
    "path": (Path, Path("/tmp/a b")),
    "pure-path": (PurePosixPath, PurePosixPath("a/b")),
    "tuple": (tuple[int, str], (1, "a")),
    "tuple-of-any-length": (tuple[int, ...], (1, 2, 3)),
    "bare-tuple": (tuple, (1, "a", None)),
    "named-tuple": (Place, Place(1, 2)),
    "typed-dict": (Options, Options(retries=3)),
    "int-keys": (dict[int, str], {1: "a", -5: "b"}),
    "uuid-keys": (dict[uuid.UUID, int], {uuid.UUID(int=1): 1}),
    "ordered-dict": (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
    "counter": (collections.Counter[str], collections.Counter("aab")),
    "deque": (collections.deque[int], collections.deque([1, 2])),
    "fraction": (Fraction, Fraction(1, 3)),
    "complex": (complex, 1 + 2j),
    "address": (IPv4Address, IPv4Address("127.0.0.1")),
    "literal": (Literal["a", 1], "a"),
    "optional": (int | None, None),
    "union-int": (int | str, 1),
    "union-str": (int | str, "1"),
    "union-float": (int | float, 1.0),
    "union-bytes": (bytes | None, b"a"),
    "annotated": (Annotated[int, Field(gt=0)], 1),
    "mapping": (Mapping[str, int], {"a": 1}),
    "sequence": (Sequence[int], [1, 2]),
    "iterable": (Iterable[int], [1, 2]),
    "iterable-of-anything": (Iterable, [1, "a"]),
    "list-of-models": (list[User], [User(name="A"), User(name="B")]),
    "any": (Any, {"a": [1, None, 2.5, "x", True]}),
    "object": (object, [1]),
}


@pytest.mark.parametrize(("annotation", "value"), TYPED.values(), ids=TYPED)
def test_annotated_types_come_back_the_same(annotation: Any, value: Any) -> None:
    def task(value: Any) -> None: ...

    task.__annotations__ = {"value": annotation}
    back = round_trip(task, value)["value"]

    assert value == back
    assert type(value) is type(back)
    assert repr(value) == repr(back) or annotation is datetime


CHANGED = {
    "subclass-of-a-model": (User, type("Admin", (User,), {})(name="A")),
    "secret": (SecretStr, SecretStr("hidden")),
    "text-that-looks-like-base64": (bytes | str, "YQ=="),
    "text-that-looks-like-a-date": (datetime | str, "2020-01-01T00:00:00"),
    "int-keys-inside-any": (dict[str, Any], {"a": {1: 2}}),
    "tuple-inside-any": (list[Any], [(1, 2)]),
    "sequence-of-another-kind": (Sequence[int], (1, 2)),
    "callable": (Callable[[], None], print),
    "type": (type, int),
    "bytearray": (bytearray, bytearray(b"a")),
    "not-a-type": (5, 5),
}


@pytest.mark.parametrize(("annotation", "value"), CHANGED.values(), ids=CHANGED)
def test_what_json_would_change_is_not_storable(annotation: Any, value: Any) -> None:
    def task(value: Any) -> None: ...

    task.__annotations__ = {"value": annotation}
    with pytest.raises(NotStorable, match="'value'"):
        plan(task).encode((value,), {})


class Blob(BaseModel):
    """A model with bytes, which are text in JSON unless its configuration differs."""

    content: bytes


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (Blob, Blob(content=b"\xff"), "of the type Blob, .*: invalid utf-8 sequence of 1 bytes"),
        (type, int, "of the type type, .*: Unable to serialize unknown type"),
        (Callable[[], None], print, "of the type builtin_function_or_method, "),
    ],
)
def test_the_argument_that_json_refuses_is_named(annotation: Any, value: Any, said: str) -> None:
    """Its own type is named, although the others are written with it."""

    def task(first: int, value: Any, last: list[int]) -> None: ...

    task.__annotations__["value"] = annotation
    with pytest.raises(NotStorable, match=f"^The argument 'value' of .* is {said}"):
        plan(task).encode((1, value, [2]), {})


def test_a_default_of_none_is_allowed_for_any_annotation() -> None:
    def task(value: Any = None) -> None: ...

    for annotation in (int, "int", User, 5, "no such name"):
        task.__annotations__ = {"value": annotation}
        plan.cache_clear()

        assert {} == round_trip(task)


# ---------------------------------------------------------------------- properties

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,  # deeper ones take most of the time, and each example has several
)
annotated = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bytes: st.binary(),
    datetime: st.datetimes(timezones=st.none() | st.just(UTC)),
    date: st.dates(),
    timedelta: st.timedeltas(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    uuid.UUID: st.uuids(),
    set[int]: st.sets(st.integers()),
    tuple[int, str]: st.tuples(st.integers(), texts),
    dict[int, str]: st.dictionaries(st.integers(), texts),
    Color: st.sampled_from(Color),
    Point: st.builds(Point, st.integers(), st.floats(-1e9, 1e9), st.lists(texts)),
    User: st.builds(User, name=texts, born=st.none() | st.dates()),
    str | int | None: st.none() | st.integers() | texts,
}


def take_anything(value, *rest, **named):  # type: ignore[no-untyped-def]
    """A task without annotations."""


@given(
    json_values,
    st.lists(json_values, max_size=2),
    st.dictionaries(texts, json_values, max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_any_json_comes_back_as_it_was(value: Any, rest: list[Any], named: Any) -> None:
    named.pop("value", None)
    back = round_trip(take_anything, value, *rest, **named)
    expected = {"value": value, "rest": tuple(rest), "named": named}

    assert {name: given for name, given in expected.items() if given or name == "value"} == back
    assert same(value, back["value"])


@pytest.mark.parametrize("annotation", annotated, ids=str)
def test_any_value_of_a_type_comes_back_or_is_refused(annotation: Any) -> None:
    def task(value: Any) -> None: ...

    task.__annotations__ = {"value": annotation}

    @given(annotated[annotation])
    @settings(max_examples=60, deadline=None)
    def check(value: Any) -> None:
        try:
            back = round_trip(task, value)["value"]
        except (NotStorable, ArgumentValueError, ArgumentError):
            return
        assert same(value, back)

    check()


@given(st.recursive(st.floats() | st.text() | st.integers(), st.lists, max_leaves=10))
@settings(max_examples=100, deadline=None)
def test_what_is_no_json_is_refused_or_comes_back(value: Any) -> None:
    try:
        back = round_trip(take_anything, value)["value"]
    except ArgumentValueError:
        return
    assert same(value, back)


# ---------------------------------------------------------------------- signatures


def positional_only(a: int, /, b: int = 2, *rest: int, c: int = 3, **named: int) -> None: ...


class Keywords(TypedDict, total=False):
    """The keywords of a function."""

    copies: int
    due: date


def with_typed_keywords(**options: Unpack[Keywords]) -> None: ...


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "positional": (positional_only, (1,), {}),
    "defaults": (positional_only, (1, 5), {"c": 9}),
    "rest": (positional_only, (1, 2, 3, 4), {}),
    "keywords": (positional_only, (1,), {"b": 7, "x": 8}),
    "own-name-as-keyword": (positional_only, (1,), {"a": 2, "self": 3, "func": 4}),
    "reserved-names": (take_anything, (1,), {"model_config": 1, "func": 2, "p0": 3, "*rest": 4}),
    "typed-keywords": (with_typed_keywords, (), {"copies": 2, "due": date(2024, 2, 29)}),
    "nothing": (lambda: None, (), {}),
}


@pytest.mark.parametrize(("func", "args", "kwargs"), CALLS.values(), ids=CALLS)
def test_a_call_comes_back_as_it_was_made(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    expected = plan(func).signature.bind(*args, **kwargs).arguments

    assert expected == round_trip(func, *args, **kwargs)


WRONG = {
    "missing": (positional_only, (), {}, "missing a required argument: 'a'"),
    "unexpected": (lambda: None, (), {"x": 1}, "unexpected keyword argument 'x'"),
    "too-many": (lambda: None, (1,), {}, "too many positional arguments"),
    "wrong-type": (positional_only, ("1",), {}, "a of the type str"),
    "wrong-type-of-rest": (positional_only, (1, 2, "3"), {}, "*rest.0 of the type str"),
    "wrong-type-of-named": (positional_only, (1,), {"x": "y"}, "**named.x of the type str"),
    "bool-for-int": (positional_only, (True,), {}, "a of the type bool"),
    "none-for-int": (positional_only, (None,), {}, "a of the type NoneType"),
}


@pytest.mark.parametrize(("func", "args", "kwargs", "said"), WRONG.values(), ids=WRONG)
def test_arguments_that_do_not_fit_say_so(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError) as refusal:
        plan(func).encode(args, kwargs)

    assert said in str(refusal.value)
    assert isinstance(refusal.value, TypeError)


def with_names_of_a_type_checker(value: "OnlyForTypeCheckers", number: "int") -> None: ...


def test_annotations_that_only_a_type_checker_knows_count_as_none() -> None:
    assert {"value": [1], "number": 2} == round_trip(with_names_of_a_type_checker, [1], 2)
    with pytest.raises(ArgumentError, match="number of the type str"):
        plan(with_names_of_a_type_checker).encode(([1], "2"), {})


def strip(value: str) -> str:
    return value.strip()


def with_validator(value: Annotated[str, BeforeValidator(strip)]) -> None: ...


def test_an_annotation_may_convert() -> None:
    def scale(factor: float) -> None: ...

    assert {"factor": 2.0} == round_trip(scale, 2)
    assert {"value": "a"} == round_trip(with_validator, " a ")


def test_a_decorated_function_is_stored_by_its_own_signature() -> None:
    @functools.wraps(positional_only)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    assert {"a": 1, "b": 2} == round_trip(wrapper, 1, 2)


# ---------------------------------------------------------------------- injected parameters


def takes_injected(session: object, number: int, text: str = "", *rest: int, mail: object) -> None:
    """A task with two injected parameters, neither of which could be stored."""


INJECTED = frozenset({"session", "mail"})


def test_injected_parameters_are_no_arguments() -> None:
    planned = plan(takes_injected, INJECTED)

    assert "(number: int, text: str = '', *rest: int) -> None" == str(planned.signature)
    assert '{"number":1}' == planned.encode((1,), {})
    with pytest.raises(ArgumentError, match="missing a required argument: 'number'"):
        planned.encode((), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "names"),
    [
        ((1,), {"mail": None}, "mail"),
        ((1,), {"session": None, "mail": None}, "mail, session"),
        ((), {"number": 1, "session": None}, "session"),
    ],
)
def test_a_value_for_an_injected_parameter_is_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], names: str
) -> None:
    call = "add_task(takes_injected, number, text, *rest)"
    with pytest.raises(InjectedArgumentError, match=f"value for {names}, .*{re.escape(call)}"):
        plan(takes_injected, INJECTED).encode(args, kwargs)


def test_a_value_in_the_place_of_an_injected_parameter_is_refused() -> None:
    def takes_two(number: int, session: object) -> None: ...

    planned = plan(takes_two, frozenset({"session"}))
    with pytest.raises(InjectedArgumentError, match="value for session"):
        planned.encode((1, object()), {})
    with pytest.raises(ArgumentError, match="too many positional arguments"):
        planned.encode((1, 2, 3), {})


@pytest.mark.parametrize(
    "given", [(1,), (1, "two"), (1, "two", 3, 4)], ids=["one", "two", "any number"]
)
def test_injected_parameters_are_put_in_their_places(given: tuple[Any, ...]) -> None:
    planned = plan(takes_injected, INJECTED)
    args, kwargs = planned.complete(
        *planned.decode(planned.encode(given, {})), {"session": "a session", "mail": "a mailer"}
    )
    bound = planned.whole.bind(*args, **kwargs)
    bound.apply_defaults()

    number, text, *rest = (*given, "")[: max(2, len(given))]
    expected = {"session": "a session", "number": number, "text": text, "rest": tuple(rest)}
    assert {**expected, "mail": "a mailer"} == bound.arguments


def test_a_function_without_injected_parameters_is_called_with_what_was_decoded() -> None:
    planned = plan(take_number)

    assert ([], {"number": 5}) == planned.complete(*planned.decode('{"number": 5}'), {})


# ---------------------------------------------------------------------- decoding


def take_number(number: int, other: int = 1) -> None: ...


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "{}",
        '{"number": "one"}',
        '{"numbers": 1}',
        '{"number": 1, "x": 2}',
    ],
)
def test_text_that_does_not_fit_any_more_says_so(text: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"do not fit take_number\(number: int, other: int = 1\)"
    ):
        plan(take_number).decode(text)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_no_text_makes_decoding_raise_anything_else(text: str) -> None:
    try:
        args, kwargs = plan(take_number).decode(text)
    except ArgumentError:
        return
    assert isinstance((args, kwargs), tuple)


def test_a_parameter_that_is_new_takes_its_default() -> None:
    assert ([], {"number": 5}) == plan(take_number).decode('{"number": 5}')


# ---------------------------------------------------------------------- measuring


def test_what_is_measured_is_no_less_than_its_text() -> None:
    assert 3 == measure("abc", "x")
    assert 3 + 2 == measure({"abc": [1]}, "x")
    assert measure({"text": "x" * PAYLOAD_LIMIT}["text"], "x") == PAYLOAD_LIMIT


def test_measuring_does_not_look_into_services() -> None:
    """Without an annotation a dataclass runs in its request, with any content."""
    service = Point(1, math.nan)

    assert 0 == measure(service, "x")
    with pytest.raises(ArgumentValueError, match=r"'x\.y'"):
        measure(service, "x", models=True)
