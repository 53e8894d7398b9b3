"""A call as people type it: the name of a task, and its arguments as JSON.

If the code of the task is available, the arguments are checked and stored as `add_task` does it;
otherwise only the rules for every task are checked.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from afterword.client.call import Call, new_job, plan_of
from afterword.errors import (
    ArgumentError,
    ArgumentValueError,
    ConfigurationError,
    PayloadTooLarge,
    UnknownTask,
    safe_repr,
)
from afterword.injection.needs import Injection
from afterword.model.job import NewJob
from afterword.tasks.options import NO_OPTIONS, CallOptions
from afterword.tasks.parameters import Parameters, parameters_of
from afterword.tasks.payload import PAYLOAD_LIMIT, measure, too_large
from afterword.tasks.registry import resolve


def object_of(text: str, place: str = "The text") -> dict[str, Any]:
    """Parse arguments that were typed.

    Args:
        place: where they were typed, for messages.

    Raises:
        ConfigurationError: they are not a JSON object.
        PayloadTooLarge: they are too large.
    """
    if len(text) > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"{len(text):,} characters"))
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place} must be valid JSON: {error}.") from None
    if not isinstance(given, dict):
        kind = type(given).__name__
        raise ConfigurationError(
            f"{place} must be an object, by parameter name, but it is a {kind}."
        )
    return given


def unchecked(task: str, given: dict[str, Any]) -> str:
    """Encode arguments that are not checked against a function; the limits still apply.

    Raises:
        ConfigurationError: the name of the task is invalid.
        ArgumentValueError: JSON cannot hold a value, or the arguments are too large.
    """
    module, _, name = task.partition(":")
    if not module or not name or not task.isprintable() or " " in task:
        raise ConfigurationError(
            f"A task must be named as module:function, but this one is {safe_repr(task)}."
        )
    return encoded(given)


def encoded(given: dict[str, Any]) -> str:
    """Encode arguments of a task whose name is known.

    Raises:
        ArgumentValueError: JSON cannot hold a value, or the arguments are too large.
    """
    measure(given, "arguments")
    text = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if size > PAYLOAD_LIMIT:
        raise PayloadTooLarge(too_large(f"{size:,} bytes"))
    return text


def checked(
    task: str,
    text: str,
    injection: Injection,
    options: CallOptions = NO_OPTIONS,
    place: str = "The text",
) -> NewJob:
    """Make the job as the application itself would make it.

    Raises:
        UnknownTask: the application has no such task.
        ArgumentError, ArgumentValueError, NotStorable: the arguments do not fit it.
    """
    func = resolve(task)
    args, kwargs = _arguments_of(task, injection, func, text, place)
    return new_job(Call(func, tuple(args), kwargs, options), injection)


def parameters_at_hand(task: str, injection: Injection) -> Parameters | None:
    """Return the parameters of a task; None if the application has no such task."""
    try:
        func = resolve(task)
    except UnknownTask:
        return None
    return parameters_of(plan_of(task, func, injection))


def _arguments_of(
    task: str, injection: Injection, func: Callable[..., Any], text: str, place: str
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Decode the arguments as a worker would; injected parameters are not arguments."""
    function = plan_of(task, func, injection)
    try:
        return function.decode(text)
    except ArgumentValueError:
        raise
    except ArgumentError as error:
        raise ArgumentError(
            f"{place} does not fit {task}{function.signature}: {_reason(error)}"
        ) from None


def _reason(error: ArgumentError) -> str:
    """Describe on one line which arguments are wrong, and why."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        found = cause.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    return " ".join(map(str.strip, str(cause or error).splitlines()))
