"""Values as JSON by their annotations, and back: the rule for arguments and for results.

A value is written by the aliases of its models' fields, which is how FastAPI shows it. If it cannot
be read back so, because an alias is for reading or for writing only, it is written by the names of
the fields. Reading takes both. Fields at their defaults are written, too: a default may be another
one where the value is read (a new id, another tenant, the next day). They are left out only if the
value cannot be read back with them, as with `size: int = None`, and if no default is computed.

`Unset` says which fields were at their defaults, so that `model_fields_set` can be restored.
"""

import dataclasses
import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, TypeVar, get_args, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import ErrorDetails, ValidationError

from afterword.errors import kind_of
from afterword.tasks.payload import same

CONFIG = ConfigDict(
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="null",
    arbitrary_types_allowed=False,
)
# Older releases of pydantic read a field by its alias only.
READS_NAMES = tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 11)
_READING: dict[str, Any] = {"by_alias": True, "by_name": True} if READS_NAMES else {}
_FORMS = (True, False) if READS_NAMES else (True,)  # by alias?

Path = tuple[str | int, ...]
Unset = list[tuple[list[str], list[list[str | int]]]]  # names of fields; paths to their models
M = TypeVar("M", bound=BaseModel)


def texts(model: BaseModel, leave_out: Set[str] = frozenset()) -> Iterator[bytes]:
    """Yield the JSON of a model in each form that `read` takes, the usual one first.

    Args:
        leave_out: names of fields of the model itself.
    """
    write = functools.partial(
        type(model).__pydantic_serializer__.to_json,
        model,
        exclude=set(leave_out),
        round_trip=True,
        warnings=False,  # of values that do not fit: what is written is read back and compared
    )
    for by_alias in _FORMS:
        yield write(by_alias=by_alias)
    if not _computes_defaults(model):
        for by_alias in _FORMS:
            yield write(by_alias=by_alias, exclude_unset=True)


def read(kind: type[M], text: str | bytes) -> M:
    """Read a model from JSON of any form.

    Raises:
        ValidationError: the text does not fit.
    """
    model: M = kind.__pydantic_validator__.validate_json(text, **_READING)
    return model


def usable(annotation: Any) -> Any:
    """Return the annotation by which pydantic encodes the values of a parameter or a result.

    >>> usable(Any) is JsonValue, usable(Iterable[int])
    (True, collections.abc.Sequence[int])
    """
    if is_plain(annotation):
        return JsonValue
    if annotation is Iterable or get_origin(annotation) is Iterable:
        # pydantic would validate an Iterable lazily, in the task, so it could not be compared here.
        return Sequence[(get_args(annotation) or (Any,))[0]]  # type: ignore[misc]
    return annotation


def is_plain(annotation: Any) -> bool:
    """Return True if the annotation says nothing: any JSON value fits it, and nothing else."""
    bare = annotation.__origin__ if get_origin(annotation) is Annotated else annotation
    return bare is Any or bare is object or bare is JsonValue


# ---------------------------------------------------------------------- fields at their defaults


def unset_in(values: Mapping[str, object]) -> Unset:
    """Find the fields at their defaults in all models of some values; not those in sets.

    >>> class Item(BaseModel):
    ...     id: int
    ...     size: int = 1
    >>> unset_in({"items": [Item(id=1), Item(id=2, size=1)]})
    [(['size'], [['items', 0]])]
    """
    found: dict[tuple[str, ...], list[list[str | int]]] = {}
    for key, value in values.items():
        for path, model in _models(value, (key,)):
            names = tuple(name for name in type(model).model_fields if _is_unset(model, name))
            if names:
                found.setdefault(names, []).append(list(path))
    return [(list(names), paths) for names, paths in found.items()]


def _is_unset(model: BaseModel, name: str) -> bool:
    return name in model.__dict__ and name not in model.model_fields_set


def _computes_defaults(value: object) -> bool:
    """Return True if a field of a model is at a default that is computed each time."""
    return any(
        each.default_factory is not None and _is_unset(model, name)
        for _, model in _models(value, ())
        for name, each in type(model).model_fields.items()
    )


def restore_unset(values: Mapping[str, object], unset: Unset) -> None:
    """Take fields out of `model_fields_set` again, after everything was read."""
    for names, paths in unset:
        for key, *path in paths:
            model = functools.reduce(_part, path, values.get(str(key)))
            if isinstance(model, BaseModel):
                model.model_fields_set.difference_update(names)


def _models(value: object, path: Path) -> Iterator[tuple[Path, BaseModel]]:
    if isinstance(value, BaseModel):
        yield path, value
    for step, part in _parts(value):
        yield from _models(part, (*path, step))


def _part(value: object, step: str | int) -> object:
    """Return a part of a value; None if the code of its type has changed meanwhile."""
    return dict(_parts(value)).get(step)


def _parts(value: object) -> Iterable[tuple[str | int, Any]]:
    if value is None or isinstance(value, str | int | float):
        return ()
    if isinstance(value, BaseModel):
        return [*value.__dict__.items(), *(value.__pydantic_extra__ or {}).items()]
    if isinstance(value, Mapping):
        return enumerate(value.values())
    if isinstance(value, list | tuple | deque):
        return enumerate(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = [each.name for each in dataclasses.fields(value)]
        return [(name, getattr(value, name)) for name in named if hasattr(value, name)]
    return ()


# ---------------------------------------------------------------------- in messages


def change_of(value: object, back: object) -> str | None:
    """Explain that a value came back as another one; None if it came back the same."""
    if same(value, back):
        return None
    came = f" to a value {kind_of(back)}" if type(back) is not type(value) else ""
    return f"JSON would change it{came}"


def leaves_out(given: object, validated: object) -> bool:
    """Return True if validation has left out keys, as it does with those that no TypedDict has.

    >>> leaves_out([{"id": 1, "note": "late"}], [{"id": 1}])
    True
    """
    if given is validated:
        return False
    if isinstance(given, Mapping) and isinstance(validated, Mapping):
        if len(validated) < len(given):
            return True
        return any(leaves_out(given[key], validated[key]) for key in given if key in validated)
    if isinstance(given, list | tuple) and isinstance(validated, list | tuple):
        return any(map(leaves_out, given, validated))
    return False


def why_unreadable(error: ValidationError) -> str:
    """Explain why JSON cannot be read back, without quoting a value."""
    first = first_of(error)
    place = location(first["loc"])
    return f"its JSON cannot be read back ({f'{place}: ' if place else ''}{rule_of(first)})"


def why_unusable(error: Exception) -> str:
    """Explain why a type is refused, without pydantic's advice for its own users."""
    if isinstance(error, PydanticSchemaGenerationError):
        return "JSON has no form for its type"
    return str(error).splitlines()[0]


def location(found: tuple[int | str, ...]) -> str:
    """Write pydantic's location as `kwargs.user.session`, without its names for types."""
    return ".".join(str(part) for part in found if part not in ("dict", "list", "nullable"))


def first_of(error: ValidationError) -> ErrorDetails:
    """Return the first error of pydantic."""
    return error.errors(include_url=False, include_context=False)[0]


def rule_of(first: ErrorDetails) -> str:
    """Return the pydantic rule that a value breaks.

    The message of a user's validator is left out, because it may quote the value.
    """
    users = ("value_error", "assertion_error")
    return "its validator refuses it" if first["type"] in users else str(first["msg"])


def first_error(error: Exception) -> str:
    """Return the place and the message of pydantic's first error."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = first_of(error)
    place = location(first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
