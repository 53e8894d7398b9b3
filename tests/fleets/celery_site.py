"""A Celery app, imported by the tests and by its worker."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery(
    "site",
    broker=os.environ.get("FLEET_BROKER", "memory://"),
    backend=os.environ.get("FLEET_BACKEND"),
)


def append(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


@app.task(bind=True)
def note(self: Any, path: str, text: str = "hello") -> str:
    """Note the id under which it runs; the id makes a second run harmless."""
    append(path, f"{self.request.id} {text}")
    return text


@app.task
def plain(path: str, *, times: int = 1) -> None:
    append(path, f"plain {times}")


@app.task
def waits(seconds: timedelta) -> None:
    """Never runs: Celery's JSON has no form for its argument."""


def made_in_a_function() -> Any:
    @app.task
    def inner() -> None: ...

    return inner
