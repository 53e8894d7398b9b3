"""The parameters of a task for people: how they are declared, and an example of the arguments."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from afterword.errors import safe_repr
from afterword.tasks.arguments import Plan
from afterword.tasks.signature import parameters

_DEPTH = 5  # of models inside models: they may refer to themselves
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_EMPTY: Mapping[str, object] = {"string": "", "integer": 0, "number": 0, "boolean": False}


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a task.

    Args:
        declared: each as its function declares it.
        example: arguments of the right types, without those that have a default.
    """

    declared: Sequence[str]
    example: Mapping[str, Any]


def parameters_of(planned: Plan) -> Parameters:
    """Return the parameters that are arguments.

    >>> from afterword.tasks.arguments import plan
    >>> def send(to: str, numbers: list[int], copies: int = 1) -> None: ...
    >>> parameters_of(plan(send)).declared
    ['to: str', 'numbers: list[int]', 'copies: int = 1']
    >>> parameters_of(plan(send)).example
    {'to': '', 'numbers': []}
    """
    known = [each for each in parameters(planned.func) if each.name not in planned.injected]
    required = [each for each in known if each.default is each.empty and each.kind not in _REST]
    return Parameters(
        declared=[_declared(each) for each in known],
        example={each.name: _example_of(each.annotation) for each in required},
    )


def _declared(parameter: inspect.Parameter) -> str:
    text = str(parameter.replace(default=parameter.empty))
    if parameter.default is parameter.empty:
        return text
    equals = "=" if parameter.annotation is parameter.empty else " = "
    return f"{text}{equals}{safe_repr(parameter.default)}"


def _example_of(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return None
    try:
        schema = TypeAdapter(annotation).json_schema()
    except Exception:  # pydantic has many errors for a type without a schema
        return None
    return _value(schema, schema.get("$defs", {}), 0)


def _value(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Any:
    """Return a value of a JSON schema: its default, its first choice, or an empty one."""
    if depth > _DEPTH:
        return None
    if "$ref" in schema:
        return _value(known.get(schema["$ref"].rpartition("/")[2], {}), known, depth + 1)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return None if {"type": "null"} in choices else _value(choices[0], known, depth + 1)
    for name in ("default", "const"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return []
    if kind == "object":
        fields = schema.get("properties", {})
        return {
            each: _value(fields[each], known, depth + 1)
            for each in schema.get("required", ())
            if each in fields
        }
    return _EMPTY.get(str(kind))
