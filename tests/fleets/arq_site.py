"""Functions of arq, imported by the tests and by its worker; only in the environment with arq."""

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


class WorkerSettings:
    """As `arq` wants it."""

    functions = (note, fail)
    redis_settings = SETTINGS
    poll_delay = 0.05
    max_tries = 1
