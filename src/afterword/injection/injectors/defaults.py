"""Default values of a dependency's parameters, as FastAPI determines them."""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from fastapi import params
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from afterword.injection.injectors.markers import Marker
from afterword.tasks.signature import Hint

Make = Callable[[], Any]

_UNCHANGING = (str, bytes, int, float, bool, type(None))


def default_of(parameter: inspect.Parameter, hint: Hint, marker: Marker | None) -> Make | None:
    """Return a factory of the parameter's default; None if the parameter is required."""
    if isinstance(parameter.default, FieldInfo):
        return _of_field(parameter.default) or _of_model(hint, parameter.default)
    if parameter.default is not inspect.Parameter.empty and parameter.default is not Ellipsis:
        return _copied(parameter.default)
    if isinstance(marker, FieldInfo):
        return _of_field(marker) or _of_model(hint, marker)
    return None


def _of_field(field: FieldInfo) -> Make | None:
    if getattr(field, "default_factory_takes_validated_data", False):
        return None  # it is made from other parts of the request
    if field.default_factory is not None:
        return cast(Make, field.default_factory)
    return None if field.default is PydanticUndefined else _copied(field.default)


def _of_model(hint: Hint, field: FieldInfo) -> Make | None:
    """Return the model's own defaults, as of `Annotated[Filters, Query()]`, if it has them all."""
    if not isinstance(field, params.Param) or not isinstance(hint.bare, type):
        return None
    if not issubclass(hint.bare, BaseModel):
        return None
    try:
        hint.bare()
    except ValidationError:
        return None
    return hint.bare


def _copied(value: Any) -> Make:
    if isinstance(value, _UNCHANGING):
        return lambda: value
    return functools.partial(copy.deepcopy, value)
