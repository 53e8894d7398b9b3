"""A job: one stored call of a task."""

import json
import os
import random
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

OnCrash = Literal["retry", "fail"]


class JobState(StrEnum):
    """Where a job is. Everything else (scheduled, retrying, waiting) is derived."""

    QUEUED = "queued"  # waits for a worker, for its time, or for its predecessor
    RUNNING = "running"  # belongs to a worker
    COMPLETED = "completed"  # the task returned
    FAILED = "failed"  # the task raised, or its worker was lost too often
    CANCELLED = "cancelled"  # will not run: somebody, or an earlier failure, said so

    @property
    def final(self) -> bool:
        """Whether the job has ended for good."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What is to be known of a job where the code of its task is not, or what was said of it alone.

    Args:
        retries: how often it is tried again after an error; None: as its task says.
        timeout: seconds an attempt may take; None: as its task says.
        on_crash: whether it is run again ("retry") or fails ("fail") when its worker dies with it.
        limit: how many jobs of its `limit_key` may run at the same time; None: any number.
        rate: how many of them may start within how many seconds; None: any number.
    """

    retries: int | None = None
    timeout: float | None = None
    on_crash: OnCrash = "retry"
    limit: int | None = None
    rate: tuple[int, float] | None = None

    def text(self) -> str | None:
        """As a store keeps them: what differs from the defaults, as JSON; None if nothing does.

        >>> JobOptions(retries=3).text(), JobOptions().text()
        ('{"retries":3}', None)
        """
        if self == DEFAULTS:
            return None
        default = asdict(DEFAULTS)
        said = {name: value for name, value in asdict(self).items() if value != default[name]}
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def read(cls, text: str | None) -> "JobOptions":
        """What `text` wrote; what somebody else wrote there is not heard.

        >>> JobOptions.read('{"retries":3,"colour":"red"}').retries
        3
        """
        if text is None:
            return DEFAULTS
        try:
            said: dict[str, Any] = json.loads(text)
            known = {name: said[name] for name in cls.__slots__ if name in said}
            rate = known.get("rate")
            return cls(**{**known, "rate": (int(rate[0]), float(rate[1])) if rate else None})
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
            return DEFAULTS


DEFAULTS = JobOptions()


@dataclass(frozen=True, slots=True)
class Delay:
    """So many seconds after the store has taken the job in, by the store's clock."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """One call of a task, as `add_task` made it.

    Args:
        id: a UUIDv7, made before anything is written.
        task: the function, as `module:qualname`.
        arguments: its arguments as a JSON object, by parameter name.
        run_at: seconds since 1970, or a `Delay`; not started earlier. Default: at once.
        after: the id of the job that has to end before this one starts.
        on_failure: what a failure of `after` does to this job: "stop" cancels it.
        request_id: the same for all jobs of one request.
        held: the storing process keeps the job until it has finished the request.
        durable: False for a call that could not be stored and runs in the request.
        tags: words to find it by.
        unique_key: while a job with this key has not ended, no other one with it is added.
        unique_ended: nor while one that has ended is still kept.
        limit_key: the jobs that share the limit and the rate of its options.
        options: see `JobOptions`, as text.
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
    """What the store knows of a job at the moment it was asked.

    `attempt` counts from 1 once the job has been given to a worker; `failures` counts those that
    raised and were followed by another, `lost` the workers that died with it, `interrupted` the
    shutdowns that gave it back. `error` is text; `result`, `progress` and `options` are JSON.
    `cancelling` is why somebody wants a running job to end.
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


class _Stamps:
    """Millisecond and fraction, 60 bits, never the same twice in one process."""

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

# Ids tell jobs apart, they are no secrets: asking the kernel for each costs 12 µs of 14. It is a
# generator of our own: whoever seeds Python's would get the same ids in each of their processes.
_random = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """A UUIDv7 as text: sorts by the time it was made, also within one process and millisecond.

    Layout: RFC 9562, section 5.7. The 12 bits after the milliseconds hold their fraction
    (method 3 of section 6.2), raised by one when two ids would be the same or step back.

    >>> len(new_id()), new_id() < new_id()
    (36, True)
    """
    stamp = _stamps.next()
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64
    text = f"{value | 0x2 << 62 | _random.getrandbits(62):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_fence() -> int:
    """A number for one claim, which no other claim of the same job ever has; 62 random bits.

    >>> 0 <= new_fence() < 2**62
    True
    """
    return _random.getrandbits(62)


def held_fence(job_id: str) -> int:
    """The number of the claim that a job is added with: the random bits of its id.

    Known before the job is stored, and the same however often the add is repeated.

    >>> held_fence("015d3ef7-9800-7000-8000-00000000002a")
    42
    """
    return int(job_id.replace("-", ""), 16) % 2**62


def first_id(seconds: float) -> str:
    """An id below all that are made from this time on (seconds since 1970).

    >>> first_id(1.5e9), first_id(0) < first_id(1.5e9) < new_id()
    ('015d3ef7-9800-7000-8000-000000000000', True)
    """
    stamp = f"{min(max(int(seconds * 1000), 0), 2**48 - 1):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"
