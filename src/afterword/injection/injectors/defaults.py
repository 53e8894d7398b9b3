"""What FastAPI gives a parameter of a dependency that the request says nothing of."""

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
    """What makes its default, a new one each time; None if it is required."""
    if isinstance(parameter.default, FieldInfo):
        return _of_field(parameter.default) or _of_model(hint, parameter.default)
    if parameter.default is not inspect.Parameter.empty and parameter.default is not Ellipsis:
        return _copied(parameter.default)
    if isinstance(marker, FieldInfo):
        return _of_field(marker) or _of_model(hint, marker)
    return None


def _of_field(field: FieldInfo) -> Make | None:
    if getattr(field, "default_factory_takes_validated_data", False):
        return None  # made of the request's other parts
    if field.default_factory is not None:
        return cast(Make, field.default_factory)
    return None if field.default is PydanticUndefined else _copied(field.default)


def _of_model(hint: Hint, field: FieldInfo) -> Make | None:
    """`Annotated[Filters, Query()]` is made of nothing if none of its fields is required."""
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
