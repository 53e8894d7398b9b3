"""Dependencies whose annotations are all strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

if TYPE_CHECKING:
    from decimal import Decimal


class Settings:
    """A class that is a dependency itself."""

    def __init__(self, request: Request) -> None:
        self.app = request.app


def get_name(settings: Annotated[Settings, Depends()]) -> str:
    """A dependency with a dependency."""
    return type(settings.app).__name__


async def task(x: int, name: Annotated[str, Depends(get_name)], y: Decimal | None = None) -> str:
    """A task with an annotation that only a type checker can resolve."""
    return f"{x}, {name}"
