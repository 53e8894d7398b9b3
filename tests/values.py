"""Values for several tests: records of jobs, and lists that cannot be stored."""

from datetime import UTC, datetime
from typing import Any

from afterword import JobRecord, JobState
from afterword.model.job import new_id

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_record(**values: Any) -> JobRecord:
    """Return the record of a queued job, with these fields changed."""
    usual: dict[str, Any] = {
        "id": new_id(),
        "task": "shop:pack",
        "arguments": "{}",
        "queue": "default",
        "priority": 0,
        "state": JobState.QUEUED,
        "attempt": 0,
        "lost": 0,
        "interrupted": 0,
        "worker": None,
        "after": None,
        "on_failure": "stop",
        "request_id": None,
        "error": None,
        "created_at": AT,
        "run_at": AT,
        "started_at": None,
        "finished_at": None,
    }
    return JobRecord(**{**usual, **values})


def deep(levels: int) -> list[Any]:
    """Return a list in a list, and so on."""
    inner: list[Any] = []
    for _ in range(levels):
        inner = [inner]
    return inner


def circular() -> list[Any]:
    """Return a list that contains itself."""
    inner: list[Any] = []
    inner.append(inner)
    return inner
