"""A Celery app, imported by the tests and by its worker."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import Celery, Task, shared_task
from pydantic import BaseModel

from afterword import task

app = Celery(
    "site",
    broker=os.environ.get("FLEET_BROKER", "memory://"),
    backend=os.environ.get("FLEET_BACKEND"),
)

app.conf.task_routes = {f"{__name__}.to_taken_queue": {"queue": "taken"}}


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
    """Never run: Celery's JSON cannot hold its argument."""


class Order(BaseModel):
    number: int


@app.task(pydantic=True)
def with_model(order: Order) -> None:
    """Take a model: Celery sends it as a dict, and its worker makes a model again."""


@app.task(ignore_result=True)
def without_result() -> None: ...


@app.task
def to_taken_queue() -> None:
    """Never run: its queue exists already, with other arguments."""


@shared_task
def shared(path: str) -> None:
    """A task of the current app."""


class Failing(Task):  # type: ignore[misc]
    """A task that is a class."""

    def run(self, path: str) -> None:
        append(path, "ran")
        raise ValueError(path)


failing = app.register_task(Failing())


@app.task
@task(priority=1)
def decorated_below(path: str) -> None:
    append(path, "ran")


def of_both(path: str) -> None:
    append(path, "ran")


to_fleet = app.task(of_both)


def made_in_a_function() -> Any:
    @app.task
    def inner() -> None: ...

    return inner
