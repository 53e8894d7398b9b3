"""Values of all kinds, as arguments and as results, come out as they went in."""

import enum
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, SecretStr, computed_field
from typing_extensions import TypedDict

from afterword import Afterword
from afterword.errors import ArgumentError, NotStorable
from afterword.tasks.arguments import plan
from afterword.tasks.encoding import READS_NAMES
from afterword.tasks.payload import same
from afterword.tasks.results import ResultNotKept, decode_result, encode_result, shown_result
from tests.life import annotated
from tests.life.annotated import (
    KINDS,
    Aliased,
    Cat,
    Dog,
    Extra,
    Order,
    Parcel,
    Place,
    Square,
    fields_set,
    fields_set_of,
    orders,
)
from tests.life.site import PATIENCE

Values = dict[str, Any]
SOME = st.fixed_dictionaries({name: strategy for name, (_, strategy) in KINDS.items()})
FEW = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def afterword(store_url: str) -> Iterator[Afterword]:
    """An Afterword that runs, for calls from the test's thread."""
    app = FastAPI()
    afterword = Afterword(app, store_url)
    with TestClient(app):
        yield afterword


def results(afterword: Afterword, tasks: Mapping[str, Callable[..., Any]], given: Values) -> Values:
    """Return the results of the tasks for these values."""
    jobs = {name: afterword.add_task_sync(tasks[name], value) for name, value in given.items()}
    return {name: job.wait_sync(PATIENCE).result for name, job in jobs.items()}


def assert_same(expected: Values, actual: Values) -> None:
    for name, value in expected.items():
        assert same(value, actual[name]), (name, value, actual[name])


# ---------------------------------------------------------------------- through the store


def test_values_come_back_from_a_task_in_this_process(afterword: Afterword) -> None:
    @given(SOME)
    @settings(FEW, max_examples=5)
    def check(values: Values) -> None:
        assert_same(values, results(afterword, annotated.HERE, values))

    check()


def test_values_come_back_from_a_task_in_a_child_process(afterword: Afterword) -> None:
    @given(SOME)
    @settings(FEW, max_examples=2)
    def check(values: Values) -> None:
        assert_same(values, results(afterword, annotated.IN_PROCESS, values))

    check()


def test_a_child_process_knows_which_fields_were_set(afterword: Afterword) -> None:
    order = Order(parcels=[Parcel(), Parcel(weight=Decimal(1))], pet=Dog())
    job = afterword.add_task_sync(fields_set_of, order, Place(1, Dog(name="Bo")))

    expected = [["parcels", "pet"], [], ["weight"], [], ["name"]]
    assert expected == fields_set([order, Place(1, Dog(name="Bo"))])
    assert expected == job.wait_sync(PATIENCE).result


# ---------------------------------------------------------------------- as text


def stored(func: Callable[..., Any], value: Any) -> Any:
    """Return an argument after a round trip through the store."""
    planned = plan(func)
    args, kwargs = planned.decode(planned.encode((value,), {}))
    return [*args, *kwargs.values()][0]


@pytest.mark.parametrize("name", KINDS)
def test_a_value_and_what_was_set_come_back(name: str) -> None:
    func = annotated.HERE[name]

    @given(KINDS[name][1])
    @settings(FEW, max_examples=30)
    def check(value: Any) -> None:
        back = stored(func, value)

        assert same(value, back)
        assert name == "in_a_set" or fields_set(value) == fields_set(back)
        text = encode_result(func, value)
        assert same(value, decode_result(func, text))

    check()


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Bill(BaseModel):
    """A model that gets its tenant from the request."""

    tenant: str = Field(default_factory=lambda: str(tenant.get()))


def send(bill: Bill) -> None: ...


def test_a_default_is_computed_once() -> None:
    planned = plan(send)
    token = tenant.set("acme")
    text = planned.encode((Bill(),), {})
    tenant.reset(token)
    bill = planned.decode(text)[1]["bill"]

    assert ("acme", set()) == (bill.tenant, bill.model_fields_set)


def test_what_was_set_is_kept_where_the_call_has_its_place() -> None:
    def deliver(*parcels: Parcel, **pets: Cat) -> None: ...

    planned = plan(deliver)
    args, kwargs = planned.decode(
        planned.encode((Parcel(), Parcel(weight=Decimal(2))), {"tom": Cat()})
    )

    assert [set(), {"weight"}, set()] == [each.model_fields_set for each in [*args, kwargs["tom"]]]


@given(orders)
@settings(FEW, max_examples=20)
def test_arguments_without_models_at_their_defaults_are_stored_as_ever(order: Order) -> None:
    """An older release can read them."""

    def take(order: Order, number: int) -> None: ...

    text = plan(take).encode((order, 1), {})

    assert ("#unset" in text) == (at_defaults(order))


def at_defaults(order: Order) -> bool:
    models = [order, *order.parcels, *order.by_id.values(), order.pet]
    return any(each.model_fields_set != type(each).model_fields.keys() for each in models)


# ---------------------------------------------------------------------- of the release before


def test_arguments_of_the_release_before_are_read() -> None:
    """It wrote aliases, and left out fields at their defaults."""

    def take(person: Aliased, order: Order) -> None: ...

    text = '{"person":{"firstName":"Ann"},"order":{"parcels":[{"weight":"2"}]}}'
    kwargs = plan(take).decode(text)[1]

    assert Aliased(firstName="Ann", bornOn=None) == kwargs["person"]
    assert {"first_name"} == kwargs["person"].model_fields_set
    assert [["parcels"], ["weight"], []] == fields_set(kwargs["order"])


@pytest.mark.skipif(not READS_NAMES, reason="this release of pydantic reads aliases only")
def test_results_of_the_release_before_are_read() -> None:
    """It wrote the names of fields."""

    def find() -> Aliased: ...  # type: ignore[empty-body]

    expected = Aliased(firstName="Ann", bornOn=None)
    assert expected == decode_result(find, '{"first_name":"Ann","born":null}')


# ---------------------------------------------------------------------- what would change


class Account(BaseModel):
    """A model that must not be stored in plain text."""

    password: SecretStr


class Admin(Extra):
    """A subclass with one more field."""

    rights: int = 3


class Size(enum.IntEnum):
    """A type that equals numbers."""

    LARGE = 1


@dataclass
class Boxed:
    """A dataclass whose annotation says nothing of its content."""

    content: Any


class LooseBill(Bill):
    """A default that is computed, and one that its annotation does not allow."""

    size: int = None  # type: ignore[assignment]


CHANGED: dict[str, tuple[Any, Any]] = {
    "secret": (Account, Account(password=SecretStr("hidden"))),
    "subclass": (Extra, Admin()),
    "extra": (Extra, Extra.model_validate({"pair": (1, 2)})),
    "computed-default": (LooseBill, LooseBill()),
    "tuple": (Any, (1, 2)),
    "bytes": (Any, b"abc"),
    "number-with-a-name": (Any, Size.LARGE),
    "dictionary-with-order": (Any, OrderedDict(a=1)),
    "length-of-deque": (deque[int], deque([1], maxlen=3)),
    "numbers-in-deque": (deque[Any], deque([Size.LARGE])),
    "enum-inside": (Boxed, Boxed(Size.LARGE)),
    "date-inside": (dict[str, Any], {"a": Parcel()}),
}


@pytest.mark.parametrize(("annotation", "value"), CHANGED.values(), ids=CHANGED)
def test_what_would_change_is_refused(annotation: Any, value: Any) -> None:
    def echo(value: Any) -> Any: ...

    echo.__annotations__ = {"value": annotation, "return": annotation}
    with pytest.raises(NotStorable, match="'value'"):
        plan(echo).encode((value,), {})
    with pytest.raises(ResultNotKept) as refusal:
        encode_result(echo, value)
    assert "hidden" not in str(refusal.value)


def refuse_twice(text: str) -> str:
    if not text.startswith("ok "):
        raise ValueError(f"{text} is not ok")
    return text.removeprefix("ok ")


class Fussy(BaseModel):
    """A model whose validator refuses its own output, and quotes it."""

    text: Annotated[str, AfterValidator(refuse_twice)]


def test_a_message_does_not_quote_a_value_that_cannot_be_read_back() -> None:
    def echo(value: Fussy) -> Fussy: ...  # type: ignore[empty-body]

    fussy = Fussy(text="ok hidden")
    with pytest.raises(NotStorable, match="its validator refuses it") as argument:
        plan(echo).encode((fussy,), {})
    with pytest.raises(ResultNotKept, match="its validator refuses it") as result:
        encode_result(echo, fussy)
    assert "hidden" not in f"{argument.value} {result.value}"


class Row(TypedDict):
    """A dictionary that may turn out to have more keys."""

    id: int


@pytest.mark.parametrize("annotation", [Row, list[Row], dict[str, tuple[Row, int]]], ids=str)
def test_a_key_that_the_annotation_does_not_have_is_not_lost_in_silence(annotation: Any) -> None:
    def echo(value: Any) -> Any: ...

    row = {"id": 1, "note": "late"}
    value: Any = {Row: row, list[Row]: [row]}.get(annotation, {"a": (row, 2)})
    echo.__annotations__ = {"value": annotation, "return": annotation}
    with pytest.raises(ArgumentError, match="note"):
        plan(echo).encode((value,), {})
    with pytest.raises(ResultNotKept, match="has keys that its annotation does not have"):
        encode_result(echo, value)


def subclass() -> Extra:
    return Admin()


def test_a_result_that_would_change_is_not_kept(
    afterword: Afterword, caplog: pytest.LogCaptureFixture
) -> None:
    job = afterword.add_task_sync(subclass).wait_sync(PATIENCE)

    assert ("completed", None) == (job.state, job.result)
    (line,) = [each for each in caplog.records if "result_not_kept" in each.getMessage()]
    assert logging.WARNING == line.levelno
    assert "Admin, and JSON would change it to a value of the type Extra" in line.getMessage()


def test_equal_unions_keep_their_order() -> None:
    """If two types fit a text, the first type of the union is read."""

    def first() -> Cat | Extra: ...  # type: ignore[empty-body]
    def second() -> Extra | Cat: ...  # type: ignore[empty-body]

    assert [Cat(), Extra()] == [decode_result(each, "{}") for each in (first, second)]


class Counted(BaseModel):
    """A model with attributes that are not data."""

    number: int
    _calls: int = PrivateAttr(0)

    @cached_property
    def double(self) -> int:
        """Compute a value once."""
        return 2 * self.number


def test_a_cached_property_is_no_data() -> None:
    def take(value: Counted) -> None: ...

    counted = Counted(number=2)
    assert 4 == counted.double

    assert Counted(number=2) == stored(take, counted)


# ---------------------------------------------------------------------- as FastAPI shows it


class Shown(BaseModel):
    """A model with everything that an answer has and a stored value does not."""

    first_name: str = Field(alias="firstName", serialization_alias="FirstName")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def initial(self) -> str:
        """Compute a value for answers only."""
        return self.first_name[:1]


def show(name: str) -> Shown:
    return Shown(firstName=name)


def square(side: int) -> Square:
    return Square(side=side)


@pytest.mark.skipif(not READS_NAMES, reason="this release of pydantic reads aliases only")
@pytest.mark.parametrize(
    ("func", "value"), [(show, "Ann"), (square, 3)], ids=["aliases", "computed"]
)
def test_the_status_api_shows_a_result_as_a_route_would(
    store_url: str, func: Callable[[Any], Any], value: Any
) -> None:
    app = FastAPI()
    afterword = Afterword(app, store_url)
    app.include_router(afterword.jobs_router(authorize=lambda: None))
    app.get("/same")(lambda: func(value))
    with TestClient(app) as client:
        job = afterword.add_task_sync(func, value).wait_sync(PATIENCE)

        assert func(value) == job.result
        assert client.get("/same").json() == client.get(f"/jobs/{job.id}/result").json()


def test_a_result_that_does_not_fit_any_more_is_shown_as_it_is_stored() -> None:
    assert '{"a":1}' == shown_result(square, '{"a":1}')
    assert '{"a": 1}' == shown_result(None, '{"a": 1}')
