"""A job: one stored call of a task."""

import json
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

OnCrash = Literal["retry", "fail"]


class JobState(StrEnum):
    """The stored states of a job; scheduled, retrying and waiting are derived from `queued`."""

    QUEUED = "queued"  # waits for a worker, for its time, or for its predecessor
    RUNNING = "running"  # claimed by a worker
    COMPLETED = "completed"  # the task returned
    HANDED_OVER = "handed_over"  # sent to the fleet of another system, whose workers run it
    FAILED = "failed"  # the task raised, or its worker was lost too often
    CANCELLED = "cancelled"  # will not run: it was cancelled, or an earlier job failed

    @property
    def final(self) -> bool:
        """Return True if the job has ended for good."""
        return self in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Return True if the job has ended, and the jobs behind it may go on."""
        return self in SUCCESSES


SUCCESSES = frozenset({JobState.COMPLETED, JobState.HANDED_OVER})
FINAL_STATES = SUCCESSES | {JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Options stored with a job.

    `retries` and `timeout` are those of this call alone. The others are the task's, stored because
    the store applies them without the task's code.

    Args:
        retries: the number of retries after errors; None: the task's `retries` apply.
        timeout: seconds an attempt may take; None: the task's `timeout` applies.
        on_crash: "retry" runs the job again if its worker dies, up to a limit; "fail" lets it fail.
            "always" has no limit, for jobs that are only sent to another system.
        limit: the number of jobs of its `limit_key` that may run at the same time; None: no limit.
        rate: the number of them that may start in a period: (count, seconds); None: no limit.
        trace: the context of the span in which the job was added, as text (`telemetry.tracing`).
    """

    retries: int | None = None
    timeout: float | None = None
    on_crash: OnCrash | Literal["always"] = "retry"
    limit: int | None = None
    rate: tuple[int, float] | None = None
    trace: Mapping[str, str] | None = None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace in which the job was added, as 32 hexadecimal digits.

        >>> JobOptions(trace={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}).trace_id
        'abababababababababababababababab'
        """
        found = _TRACEPARENT.match((self.trace or {}).get("traceparent", ""))
        return found[1] if found else None

    def text(self) -> str | None:
        """Encode the options that differ from the defaults as JSON; None if none does.

        >>> JobOptions(retries=3).text(), JobOptions().text()
        ('{"retries":3}', None)
        """
        if self == DEFAULTS:
            return None
        default = asdict(DEFAULTS)
        changed = {name: value for name, value in asdict(self).items() if value != default[name]}
        return json.dumps(changed, separators=(",", ":"))

    @classmethod
    def read(cls, text: str | None) -> "JobOptions":
        """Decode what `text` encoded; ignore unknown names and text that was edited by hand.

        >>> JobOptions.read('{"retries":3,"colour":"red"}').retries
        3
        """
        if text is None:
            return DEFAULTS
        try:
            stored: dict[str, Any] = json.loads(text)
            known = {name: stored[name] for name in cls.__slots__ if name in stored}
            rate = known.get("rate")
            known["rate"] = (int(rate[0]), float(rate[1])) if rate else None
            return cls(**{**known, "trace": _texts_of(known.get("trace"))})
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
            return DEFAULTS


def _texts_of(stored: object) -> Mapping[str, str] | None:
    """Return the texts of a mapping; None if there are none."""
    items = stored.items() if isinstance(stored, dict) else ()
    return {name: text for name, text in items if isinstance(text, str)} or None


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
DEFAULTS = JobOptions()


@dataclass(frozen=True, slots=True)
class Delay:
    """A number of seconds from the moment the job is stored, by the store's clock."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """One call of a task, to be stored.

    Args:
        id: a UUIDv7, made before anything is written.
        task: the function, as `module:qualname`.
        arguments: its arguments as a JSON object, by parameter name.
        run_at: the earliest start: seconds since 1970, or a `Delay`. Default: at once.
        after: the id of the predecessor, which must end before this job starts.
        on_failure: "stop" cancels this job if the predecessor fails.
        request_id: shared by all jobs of one request.
        held: True if the storing process keeps the job until the request is finished.
        durable: False for a call that could not be stored and runs in the request.
        tags: words to find it by.
        unique_key: no second job is added while one with this key has not ended.
        unique_ended: True if a job that has ended occupies its `unique_key` until it is purged.
        limit_key: jobs with the same key share the limit and the rate of their options.
        options: a `JobOptions` as text.
    """

    id: str
    task: str
    arguments: str = "{}"
    queue: str = "default"
    priority: int = 0
    run_at: float | Delay | None = None
    after: str | None = None
    on_failure: str = "stop"
    request_id: str | None = None
    held: bool = False
    durable: bool = True
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    unique_ended: bool = False
    limit_key: str | None = None
    options: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A snapshot of a job in the store.

    `attempt` counts from 1 once a worker has claimed the job. `failures` counts the attempts that
    raised and were followed by another, `lost` the workers that died with it, `interrupted` the
    shutdowns that released it. `error` is text; `result`, `progress` and `options` are JSON.
    `cancelling` is the reason for which a running job was asked to end. `started_at` is the start
    of the last attempt, for a running job the time of its claim, and unknown while it is queued.
    `parked_at` is set while a queued job waits for a worker that can run it: each worker that has
    claimed it since then could not, and `error` is the reason.
    """

    id: str
    task: str
    arguments: str
    queue: str
    priority: int
    state: JobState
    attempt: int
    lost: int
    interrupted: int
    worker: str | None
    after: str | None
    on_failure: str
    request_id: str | None
    error: str | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    limit_key: str | None = None
    options: str | None = None
    failures: int = 0
    progress: str | None = None
    cancelling: str | None = None
    result: str | None = None
    parked_at: datetime | None = None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace in which the job was added; None: there was none."""
        return JobOptions.read(self.options).trace_id


class _Stamps:
    """Timestamps of 60 bits, milliseconds and a fraction; each is unique in its process."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        milliseconds, fraction = divmod(time.time_ns(), 1_000_000)
        stamp = (milliseconds << 12) | (fraction * 4096 // 1_000_000)
        with self._lock:
            self._last = max(stamp, self._last + 1)
            return self._last


_stamps = _Stamps()

# Ids need to be unique, not secret: asking the kernel for each costs 12 µs of 14. The generator is
# our own: an application that seeds Python's would get the same ids in each of its processes.
_random = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """Make a UUIDv7 as text; ids sort by creation time, even within a millisecond of one process.

    Layout: RFC 9562, section 5.7. The 12 bits after the milliseconds hold their fraction
    (method 3 of section 6.2), raised by one when two ids would be the same or step back.

    >>> len(new_id()), new_id() < new_id()
    (36, True)
    """
    stamp, chance = _stamps.next(), _random.getrandbits(62)
    moment = f"{stamp >> 28:08x}-{stamp >> 12 & 0xFFFF:04x}-7{stamp & 0xFFF:03x}"
    return f"{moment}-{0x8000 | chance >> 48:04x}-{chance & 0xFFFFFFFFFFFF:012x}"


def new_fence() -> int:
    """Make the fence number of a claim: 62 random bits, so that no two claims of a job share one.

    >>> 0 <= new_fence() < 2**62
    True
    """
    return _random.getrandbits(62)


def held_fence(job_id: str) -> int:
    """Return the fence number of the claim that comes with a held job: the random bits of its id.

    It is known before the job is stored, and stays the same if adding is repeated.

    >>> held_fence("015d3ef7-9800-7000-8000-00000000002a")
    42
    """
    return int(job_id[19:23] + job_id[24:], 16) % 2**62


def first_id(seconds: float) -> str:
    """Return an id that sorts before all ids made from this time on (seconds since 1970).

    >>> first_id(1.5e9), first_id(0) < first_id(1.5e9) < new_id()
    ('015d3ef7-9800-7000-8000-000000000000', True)
    """
    stamp = f"{min(max(int(seconds * 1000), 0), 2**48 - 1):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"
