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
    """Note the id; a parameter has the name of one of arq's `enqueue_job`."""
    append(path, f"{ctx['job_id']} {function}")


def as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


class JsonSettings:
    """A worker with its own queue and serializer."""

    functions = (note_function,)
    redis_settings = SETTINGS
    queue_name = "json"
    job_serializer = as_json
    job_deserializer = json.loads
    poll_delay = 0.05


class WorkerSettings:
    """Settings for the command `arq`."""

    functions = (note, fail)
    redis_settings = SETTINGS
    poll_delay = 0.05
    max_tries = 1
