"""Jobs as lines of text, for moving them from one store to another.

The first line names the format, then comes a job per line, and the last line counts them, so that a
truncated file is recognized. Lines hold data only; reading them imports no code, and every value is
checked.

The file does not contain counters, the audit, earlier attempts, logs, or the rules of queues and
schedules.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from afterword.errors import ConfigurationError, safe_repr
from afterword.model.job import JobRecord, JobState

FORMAT = 2
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_COUNTS = ("attempt", "lost", "interrupted", "failures")
_INSTANTS = ("created_at", "run_at", "started_at", "finished_at")
_JSON = ("options", "progress", "result")  # as text
# All but one: the workers of the other store have not met the job yet.
_FIELDS = [each.name for each in fields(JobRecord) if each.name != "parked_at"]
_TEXTS = (  # any of these may hold a value that a store cannot keep
    *("task", "queue", "arguments", "worker", "error", "unique_key", "limit_key", "cancelling"),
    *_JSON,
)
_OF_FORMAT_1: dict[str, Any] = {  # which did not have these fields yet
    **dict.fromkeys(("unique_key", "limit_key", "cancelling", *_JSON), None),
    "tags": [],
    "failures": 0,
}
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "task", "arguments", "queue", "state", "on_failure"), (str,)),
    **dict.fromkeys(("worker", "after", "request_id", "error", "cancelling"), (str, NoneType)),
    **dict.fromkeys(("unique_key", "limit_key", *_JSON), (str, NoneType)),
    "tags": (list,),
    **dict.fromkeys(("priority", *_COUNTS), (int,)),
    **dict.fromkeys(("created_at", "run_at"), (str,)),
    **dict.fromkeys(("started_at", "finished_at"), (str, NoneType)),
}


class CutOff(ConfigurationError):
    """The end of the file is missing; the lines before it are complete."""


def header() -> str:
    """The first line."""
    return _line({"afterword": FORMAT})


def line_of(job: JobRecord) -> str:
    """A job's line."""
    values = {name: getattr(job, name) for name in _FIELDS}
    instants = {name: values[name].isoformat() for name in _INSTANTS if values[name] is not None}
    return _line({**values, **instants})


def footer(jobs: int) -> str:
    """The last line."""
    return _line({"jobs": jobs})


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":")) + "\n"


# ---------------------------------------------------------------------- reading


def read(lines: Iterable[str]) -> Iterator[JobRecord]:
    """The jobs of a file, as its lines come.

    Raises:
        ConfigurationError: it is not an export, a line is invalid, or the end is missing. The
            message has the number of the line.
    """
    ended, number, known = False, 0, {}
    for number, line in enumerate(lines, start=1):
        values = _object(line, number)
        if number == 1:
            known = _known(values)
        elif ended:
            raise _wrong(number, "it follows the end of the file")
        elif "jobs" in values:
            _check_end(values, number)
            ended = True
        else:
            yield _record({**known, **values}, number)
    if not ended:
        raise CutOff(
            f"The file was cut off: the last line, which counts the jobs, is missing after"
            f" {number} lines. Export again, and import that: jobs that are there already are not"
            " changed."
        )


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _wrong(number, f"it is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise _wrong(number, f"it is not a JSON object but a {type(values).__name__}")
    return values


def _known(header: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that jobs of a file of this format lack."""
    said = header.get("afterword")
    if said == FORMAT:
        return {}
    if said == 1:
        return _OF_FORMAT_1
    raise _wrong(
        1,
        f'the first line is {{"afterword": {FORMAT}}} in a file that this release can read.'
        " Was it made by `afterword export`, perhaps of a newer release?",
    )


def _check_end(values: dict[str, Any], number: int) -> None:
    if values["jobs"] != number - 2:
        raise _wrong(number, f"it counts {values['jobs']!r} jobs, but {number - 2} came before it")


def _record(values: dict[str, Any], number: int) -> JobRecord:
    missing = sorted(_KINDS.keys() - values.keys())
    if missing or len(values) != len(_KINDS):
        unknown = sorted(values.keys() - _KINDS.keys())
        raise _wrong(number, f"a job has the fields of an export, but {missing=} and {unknown=}")
    for name, kinds in _KINDS.items():
        if type(values[name]) not in kinds:
            raise _wrong(number, f"{name} is a {type(values[name]).__name__}")
    try:
        instants = {name: _instant(values[name]) for name in _INSTANTS}
        state, tags = JobState(values["state"]), tuple(values["tags"])
        record = JobRecord(**{**values, **instants, "state": state, "tags": tags})
        _check(record)
    except (ValueError, OverflowError, RecursionError) as error:
        raise _wrong(number, str(error)) from None
    return record


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"a time has an offset from UTC, but {text!r} has none")
    return instant.astimezone(UTC)


def _check(job: JobRecord) -> None:
    """Refuse values that no store can hold.

    Raises:
        ValueError: names the invalid value.
    """
    for name in ("id", "after", "request_id"):
        value = getattr(job, name)
        if value is not None and not _ID.fullmatch(value):
            raise ValueError(f"{name} is a UUID, not {value!r}")
    if job.after == job.id:
        raise ValueError(f"job {job.id} follows itself")
    for name in ("task", "queue"):
        if not getattr(job, name):
            raise ValueError(f"{name} is empty")
    for name in _TEXTS:
        _check_text(name, getattr(job, name))
    for tag in job.tags:
        _check_text("a tag", tag)
    if job.on_failure not in ("stop", "continue"):
        raise ValueError(f"on_failure is 'stop' or 'continue', not {job.on_failure!r}")
    if job.state.final and job.finished_at is None:
        raise ValueError(f"a {job.state} job has finished_at, but this one has not")
    _check_numbers(job)
    _check_json(job)


def _check_text(name: str, text: object) -> None:
    """Refuse text that not every store can keep."""
    if text is None:
        return
    if not isinstance(text, str):
        raise ValueError(f"tags are texts, but one is a {type(text).__name__}")
    if "\0" in text or (not text.isascii() and text != text.encode(errors="replace").decode()):
        raise ValueError(f"{name} holds NUL or half a surrogate pair: {safe_repr(text)}")


def _check_numbers(job: JobRecord) -> None:
    for name in (*_COUNTS, "priority"):
        least = 0 if name in _COUNTS else -(2**31)
        if not least <= getattr(job, name) < 2**31:
            raise ValueError(f"{name} cannot be {getattr(job, name)}")


def _check_json(job: JobRecord) -> None:
    values = {name: json.loads(getattr(job, name) or "null") for name in ("arguments", *_JSON)}
    if not isinstance(values["arguments"], dict):
        raise ValueError("arguments are a JSON object, as text")
    if job.options is not None and not isinstance(values["options"], dict):
        raise ValueError("options are a JSON object, as text")


def _wrong(number: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"Line {number} of the file cannot be imported: {why}.")


# ---------------------------------------------------------------------- all of them together


def check_together(jobs: Iterable[JobRecord]) -> dict[str, str]:
    """Refuse jobs that cannot be in one store; reads all of them.

    Returns:
        The unique keys of the unfinished jobs, and the jobs' ids.

    Raises:
        ConfigurationError: two unfinished jobs have one unique key, or some wait for each other.
    """
    keys: dict[str, str] = {}
    after: dict[str, str] = {}
    for job in jobs:
        if job.state.final:
            continue
        if job.after is not None:
            after[job.id] = job.after
        # A job that was asked to end leaves its key to the next one.
        if job.unique_key is None or job.cancelling is not None:
            continue
        other = keys.setdefault(job.unique_key, job.id)
        if other != job.id:
            raise ConfigurationError(
                f"The file cannot be imported: the unfinished jobs {other} and {job.id} both have"
                f" the unique key {safe_repr(job.unique_key)}. Remove one of them from the file,"
                " and reduce the number in its last line by 1."
            )
    _refuse_circles(after)
    return keys


def _refuse_circles(after: dict[str, str]) -> None:
    ended: set[str] = set()  # these wait for nothing that waits for them
    for first in after:
        waiting, job = set[str](), first
        while job in after and job not in ended:
            if job in waiting:
                raise ConfigurationError(
                    f"The file cannot be imported: job {job} follows jobs that follow it, so"
                    " none of them would ever run. Set `after` of one of them to null."
                )
            waiting.add(job)
            job = after[job]
        ended |= waiting


# ---------------------------------------------------------------------- in the right order


def arranged(jobs: Iterable[JobRecord]) -> Iterator[list[JobRecord]]:
    """The jobs in groups that must be added together, each follower behind its predecessor.

    An export begins with the newest job, so a follower comes before its predecessor; it is kept
    until the predecessor or the end of the file comes.
    """
    kept: dict[str, list[JobRecord]] = {}
    for job in jobs:
        if job.after is not None and not job.state.final:
            kept.setdefault(job.after, []).append(job)
        else:
            yield _with_followers([job], kept)
    left = {job.id for group in kept.values() for job in group}
    for predecessor in [each for each in kept if each not in left]:
        yield _with_followers(kept.pop(predecessor), kept)
    while kept:  # a circle, which no store made
        yield _with_followers(kept.pop(next(iter(kept))), kept)


def _with_followers(group: list[JobRecord], kept: dict[str, list[JobRecord]]) -> list[JobRecord]:
    for each in group:  # which grows
        group += kept.pop(each.id, ())
    return group
