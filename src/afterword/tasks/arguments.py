"""The arguments of a job: bound, validated and encoded when it is added, decoded when it runs.

A `Plan` is compiled once per function. It encodes a call as one JSON object by parameter name,
through a pydantic model made from the annotations (`afterword.tasks.encoding`), and decodes it
again. Decoding must give the original values: `encode` decodes its own text and compares, so a type
that JSON would silently change (a subclass, a secret, an ambiguous union) is refused. Plain values,
which JSON certainly preserves, take a shorter way (`afterword.tasks.scalars`).

Parameters without an annotation take the types of JSON: str, int, float, bool, None, list, dict.

Parameters that are injected where the task runs (`injection.needs`) are not arguments. They are
removed from the signature before the caller's arguments are bound.
"""

import contextlib
import functools
import inspect
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Unpack, get_args, get_origin

import typing_extensions
from pydantic import BaseModel, Field, TypeAdapter, create_model
from pydantic_core import PydanticSerializationError, ValidationError

from afterword.errors import (
    ArgumentError,
    ArgumentValueError,
    InjectedArgumentError,
    NotStorable,
    PayloadTooLarge,
    kind_of,
)
from afterword.tasks.encoding import (
    CONFIG,
    Unset,
    change_of,
    first_error,
    first_of,
    is_plain,
    location,
    read,
    restore_unset,
    rule_of,
    texts,
    unset_in,
    usable,
    why_unreadable,
    why_unusable,
)
from afterword.tasks.mistakes import advice_on_arguments
from afterword.tasks.options import CallOptionsDict, TaskOptionsDict
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, too_large, why_not_json
from afterword.tasks.scalars import SCALARS, Scalars, scalars_of
from afterword.tasks.signature import parameters

UNSET = "#unset"  # beside the arguments, and the name of no parameter
_UNPACK = (Unpack, typing_extensions.Unpack)
_STARS = {inspect.Parameter.VAR_POSITIONAL.value: "*", inspect.Parameter.VAR_KEYWORD.value: "**"}


@dataclass(frozen=True, slots=True)
class Plan:
    """The encoding of one function's arguments."""

    func: Callable[..., Any]
    signature: inspect.Signature
    model: type[BaseModel]
    unstorable: Mapping[str, str]  # parameter: the reason why JSON has no form for its type
    plain: frozenset[str]  # parameters that take any JSON value, and nothing else
    injected: frozenset[str]  # parameters that are not arguments
    whole: inspect.Signature  # with the injected parameters
    scalars: Scalars | None = None  # the short way, if there is one

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Encode the arguments of a call as JSON.

        Raises:
            ArgumentError: they do not fit the signature or its annotations.
            InjectedArgumentError: a value for a parameter that is injected.
            ArgumentValueError: a value JSON cannot hold. PayloadTooLarge: more than 256 KiB.
            NotStorable: an argument that cannot be stored and read back unchanged.
        """
        text = self.scalars.encode(args, kwargs) if self.scalars else None
        return self._encode(args, kwargs) if text is None else text

    def _encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        given = self._bind(args, kwargs)
        for name, value in given.items():
            if name in self.unstorable:
                raise _unstorable(self.func, name, value, self.unstorable[name])
            measure(value, name, models=name not in self.plain)
        values = self._validate(given)
        # An annotation may convert (an int into a float); without one the value must not change.
        plain = {name: given[name] for name in self.plain & given.keys()}
        return self._unchanged({**values, **plain}, self._dump(values))

    def _unchanged(self, values: dict[str, Any], written: Iterator[bytes]) -> str:
        """Return the first of the texts from which the values come back as they are."""
        refusal: NotStorable | None = None
        for text in written:
            if len(text) > PAYLOAD_LIMIT:
                raise PayloadTooLarge(too_large(f"{len(text):,} bytes"))
            found = self._change(values, text)
            if found is None:
                return text.decode()
            refusal = refusal or _unstorable(self.func, *found)
        raise refusal or AssertionError("no text was written")

    def _change(self, values: dict[str, Any], text: bytes) -> tuple[str, Any, str] | None:
        """Find an argument that changes; return its name, its value, and the reason."""
        try:
            back = self._read(text)
        except ValidationError as error:
            name, value = next(iter(values.items()))
            place = str(first_of(error)["loc"][0])
            name, value = (place, values[place]) if place in values else (name, value)
            return name, value, why_unreadable(error)
        for name, value in values.items():
            reason = change_of(value, back[name]) if name in back else "JSON would drop it"
            if reason:
                return name, value, reason
        return None

    def _read(self, text: str | bytes) -> dict[str, Any]:
        values = _values(read(self.model, text))
        unset: Unset | None = values.pop(UNSET, None)
        if unset:
            restore_unset(values, unset)
        return values

    def decode(self, text: str) -> tuple[list[Any], dict[str, Any]]:
        """Decode the positional and keyword arguments of a stored call.

        Raises:
            ArgumentError: the text does not fit the function's present signature.
        """
        scalars = self.scalars.decode(text) if self.scalars else None
        return self._decode(text) if scalars is None else ([], scalars)

    def _decode(self, text: str) -> tuple[list[Any], dict[str, Any]]:
        try:
            return self._arrange(self._read(text))
        except (ValidationError, TypeError) as error:
            raise ArgumentError(
                f"The stored arguments do not fit {_name(self.func)}{self.signature}:"
                f" {first_error(error)}. Was its signature changed after the job was added?"
            ) from error

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        self._require_not_injected(self.injected & kwargs.keys())
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            self._require_not_injected(self._injected_by_position(args, kwargs))
            raise ArgumentError(
                f"{_name(self.func)}{self.signature} was added with arguments that do not fit it:"
                f" {error}.{self._advice(kwargs)}"
            ) from None
        given: dict[str, Any] = {}
        for name, value in bound.items():
            parameter = self.signature.parameters[name]
            is_rest = parameter.kind is parameter.VAR_POSITIONAL
            given[_key(parameter)] = list(value) if is_rest else value
        return given

    def _advice(self, kwargs: Mapping[str, Any]) -> str:
        unknown = [name for name in kwargs if name not in self.signature.parameters]
        of_calls, of_tasks = CallOptionsDict.__annotations__, TaskOptionsDict.__annotations__
        return advice_on_arguments(_name(self.func), unknown, of_calls, of_tasks)

    def _injected_by_position(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Set[str]:
        """Return the injected parameters that the call fills, if it fits the whole signature."""
        with contextlib.suppress(TypeError):
            return self.injected & self.whole.bind(*args, **kwargs).arguments.keys()
        return set()

    def _require_not_injected(self, names: Set[str]) -> None:
        if names:
            name = _name(self.func)
            raise InjectedArgumentError(
                f"{name} was added with a value for {', '.join(sorted(names))}, which is injected"
                " where the task runs, anew for each attempt. Leave it out:"
                f" add_task({name}{_call_of(self.signature)})."
            )

    def _validate(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            return _values(self.model.__pydantic_validator__.validate_python(given, strict=True))
        except ValidationError as error:
            first = first_of(error)
            name = str(first["loc"][0])
            if name in self.plain:
                path, value, reason = location(first["loc"]), first["input"], rule_of(first)
                raise _unstorable(self.func, path, value, reason) from None
            raise ArgumentError(
                f"{_name(self.func)}{self.signature} was added with {location(first['loc'])}"
                f" {kind_of(first['input'])}: {first['msg']}."
                " Pass a value of the annotated type, or change the annotation."
            ) from None

    def _dump(self, values: dict[str, Any]) -> Iterator[bytes]:
        unset = unset_in(values)
        try:
            yield from self._texts({**values, UNSET: unset} if unset else values)
        except PydanticSerializationError as error:
            if "surrogate" in str(error):
                raise ArgumentValueError(
                    f"{_name(self.func)} was added with text that holds half a surrogate pair,"
                    f" which UTF-8 cannot encode ({error}). Pass valid text, or bytes."
                ) from None
            raise self._refusal(values, error) from None
        except ValueError as error:
            raise ArgumentValueError(f"{_name(self.func)} cannot be stored: {error}.") from None

    def _texts(self, values: Mapping[str, Any]) -> Iterator[bytes]:
        model = self.model.model_construct(**values)
        return texts(model, self.model.model_fields.keys() - model.model_fields_set)

    def _refusal(self, values: dict[str, Any], error: PydanticSerializationError) -> NotStorable:
        """Name the argument that has no form in JSON: the error says only which part of it."""
        for name, value in values.items():
            try:
                deque(self._texts({name: value}), maxlen=0)
            except ValueError as own:
                return _unstorable(self.func, name, value, why_not_json(own))
        names = ", ".join(values)
        return _unstorable(self.func, names, list(values.values()), why_not_json(error))

    def complete(
        self, args: list[Any], kwargs: dict[str, Any], injected: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Put the injected values in their places among the decoded arguments, for the call."""
        if not args:
            return args, {**kwargs, **injected}
        positional, by_name = list(args), {**kwargs, **injected}
        for index, parameter in enumerate(self.whole.parameters.values()):
            # Positional arguments need every parameter before them, as in `f(db, *rest)`.
            by_position = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            if by_position and parameter.name in injected and index < len(positional):
                positional.insert(index, by_name.pop(parameter.name))
        return positional, by_name

    def _arrange(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        has_rest = any(key[0] == "*" and key[1] != "*" for key in values)
        for parameter in self.signature.parameters.values():
            key = _key(parameter)
            if key not in values:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(values[key])
            elif parameter.kind is parameter.VAR_KEYWORD:
                keywords.update(values[key])
            elif parameter.kind is parameter.POSITIONAL_ONLY or (
                has_rest and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            ):
                positional.append(values[key])
            else:
                keywords[parameter.name] = values[key]
        self.signature.bind(*positional, **keywords)
        return positional, keywords


@functools.lru_cache(maxsize=4096)
def plan(func: Callable[..., Any], injected: frozenset[str] = frozenset()) -> Plan:
    """Compile the plan of a function, once.

    Args:
        injected: the parameters that are not arguments, as found by `afterword.injection.needs`.
    """
    whole = inspect.signature(func)
    signature = whole.replace(
        parameters=[each for each in whole.parameters.values() if each.name not in injected]
    )
    hints = _hints(func)
    fields: dict[str, Any] = {}
    unstorable: dict[str, str] = {}
    plain: set[str] = set()
    takes: dict[str, frozenset[type]] = {}
    for index, parameter in enumerate(signature.parameters.values()):
        key, hint = _key(parameter), hints.get(parameter.name, Any)
        if is_plain(hint):
            plain.add(key)
        takes[key] = SCALARS if key in plain else scalars_of(hint, parameter.default)
        try:
            annotation = _annotation(parameter, hints)
            TypeAdapter(annotation)
        except Exception as error:  # pydantic has many errors for an unknown type
            unstorable[key] = why_unusable(error)
        else:
            fields[f"#{index}"] = (annotation, Field(default=None, alias=key))
    fields[UNSET] = (Unset, Field(default=None, alias=UNSET))
    model = create_model("Arguments", __config__={**CONFIG, "extra": "forbid"}, **fields)
    unstorable_types = types.MappingProxyType(unstorable)
    scalars = Scalars.of(signature, types.MappingProxyType(takes))
    return Plan(
        func, signature, model, unstorable_types, frozenset(plain), injected, whole, scalars
    )


def _hints(func: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations; leave out those that only a type checker can resolve."""
    return {
        each.name: each.annotation
        for each in parameters(func)
        if each.annotation is not each.empty and not isinstance(each.annotation, str)
    }


def _annotation(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    annotation: Any = usable(hints.get(parameter.name, Any))
    if parameter.default is None:
        annotation = annotation | None  # `def f(name: str = None)` means `str | None`
    if parameter.kind is parameter.VAR_POSITIONAL:
        return list.__class_getitem__(annotation)
    if parameter.kind is parameter.VAR_KEYWORD:
        if get_origin(annotation) in _UNPACK:
            return get_args(annotation)[0]  # `**options: Unpack[SomeTypedDict]`
        return dict.__class_getitem__((str, annotation))
    return annotation


def _key(parameter: inspect.Parameter) -> str:
    return _STARS.get(parameter.kind.value, "") + parameter.name


def _values(model: BaseModel) -> dict[str, Any]:
    fields = type(model).model_fields
    values = model.__dict__
    return {
        str(fields[name].alias): values[name] for name in fields if name in model.model_fields_set
    }


def _call_of(signature: inspect.Signature) -> str:
    """Write the arguments of a call by the names of the parameters: `, user_id, *rest`."""
    return "".join(f", {_key(parameter)}" for parameter in signature.parameters.values())


def _unstorable(func: Callable[..., Any], path: str, value: object, reason: str) -> NotStorable:
    def message(argument: str) -> str:
        return (
            f"{argument} {kind_of(value)}, which cannot be stored and read back: {reason}."
            " Pass an id or a path instead, and load the object in the task."
        )

    root, _, nested = path.partition(".")
    return NotStorable(
        message(f"The argument {path!r} of {_name(func)} is"),
        logged=message(
            f"The argument {root!r} of {_name(func)} {'holds something' if nested else 'is'}"
        ),
    )


def _name(func: Callable[..., Any]) -> str:
    return getattr(func, "__qualname__", type(func).__qualname__)
