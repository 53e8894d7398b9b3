"""Functions of arq, imported by the tests and by its worker; only in the environment with arq."""

import json
import os
from typing import Any

from arq.connections import RedisSettings

from tests.fleets.celery_site import append

SETTINGS = RedisSettings.from_dsn(os.environ.get("FLEET_BROKER", "redis://127.0.0.1:9"))


async def note(ctx: dict[str, Any], path: str, text: str = "hello") -> str:
    """Note the id under which it runs."""
    append(path, f"{ctx['job_id']} {text}")
    return text


async def fail(ctx: dict[str, Any]) -> None:
    raise ValueError("no")


async def note_function(ctx: dict[str, Any], path: str, function: str) -> None:
    """Has a parameter with a name that arq's `enqueue_job` has, too."""
    append(path, f"{ctx['job_id']} {function}")


def as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


class JsonSettings:
    """A worker with a queue and a serializer of its own."""

    functions = (note_function,)
    redis_settings = SETTINGS
    queue_name = "json"
    job_serializer = as_json
    job_deserializer = json.loads
    poll_delay = 0.05


class WorkerSettings:
    """A task with the signature that arq needs."""

    functions = (note, fail)
    redis_settings = SETTINGS
    poll_delay = 0.05
    max_tries = 1
