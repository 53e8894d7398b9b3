"""The options of a task, `@task(...)`, and of one call, `options(...)`."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, get_args

from afterword.errors import ConfigurationError, safe_repr
from afterword.model.checks import (
    check_choice,
    check_number,
    check_queue,
    checked_rate,
    checked_tags,
    is_number,
)
from afterword.model.control import LONGEST, seconds_of
from afterword.model.job import Delay, JobRecord, OnCrash
from afterword.tasks.mistakes import CALL_LINE, TASK_LINE, require_known
from afterword.tasks.retry import Backoff, as_backoff, checked_retries

Executor = Literal["process"]
Pause = float | Sequence[float] | Backoff
FailureCall = Callable[[JobRecord, BaseException, int], object]
_LAST_TIME = 253_402_300_799.0  # the last second of the year 9999
_KEY_LENGTH = 128  # longer keys are hashed
# No key that an application gives is stored with one of these prefixes as it is written.
_HASHED = "sha256:"
IDEMPOTENT = "idempotency:"  # the keys of requests that a client may repeat


class TaskOptionsDict(TypedDict, total=False):
    """The keywords of `@task(...)`; see `TaskOptions`."""

    queue: str
    priority: int
    retries: int | None
    backoff: Pause
    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    timeout: float | timedelta | None
    executor: Executor | None
    on_crash: OnCrash
    tags: Sequence[str]
    limit: int | None
    rate: str | None
    key: Callable[..., object] | None
    on_failure_call: FailureCall | None
    via: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of `@task(...)`, which hold for each job of the task.

    Args:
        queue: the queue in which its jobs wait for a worker that serves it.
        priority: jobs with lower numbers start first among the due jobs of a queue; -1000 to 1000.
            Default: 0.
        retries: how often a job is retried after errors, at most. Default: the value of
            `Afterword(retries=)`; without that, none.
        backoff: the delay before a retry: seconds (doubled each time up to an hour, then shortened
            at random by up to half), a list of seconds, or a `Backoff`. Default: 1.
        retry_on: the errors after which a job is retried. Default: every `Exception`.
        timeout: seconds (or a timedelta) an attempt may take. Default: no limit.
        executor: "process" runs it in a process of its own, for CPU-bound work. Default: the
            event loop for `async def`, a thread for `def`.
        on_crash: "retry" runs a job again if its worker died with it; "fail" lets it fail, for work
            that must not be done twice. Default: "retry".
        tags: words to find its jobs by.
        limit: the number of jobs of the task that may run at the same time, over all workers.
        rate: the number of jobs of the task that may start in a period, over all workers: "10/s",
            "100/m".
        key: a function of the task's arguments; `limit` and `rate` then count the jobs of each of
            its values separately. It takes the arguments that it names:
            `key=lambda user_id: user_id`.
        on_failure_call: a function of (job, error, attempt), called when a job of the task has
            failed for good; see `Afterword.on_failure`.
        via: the queue of RQ, or the `RedisSettings` or `WorkerSettings` of arq, whose workers run
            the task; see docs/fleets.md.

    Raises:
        ConfigurationError: an option has an invalid value.

    Example:
        >>> TaskOptions(retries=3, timeout=30, rate="100/m").rate
        '100/m'
    """

    queue: str = "default"
    priority: int = 0
    retries: int | None = None
    backoff: Any = field(default_factory=Backoff)
    retry_on: Any = (Exception,)
    timeout: Any = None
    executor: Executor | None = None
    on_crash: OnCrash = "retry"
    tags: Any = ()
    limit: int | None = None
    rate: str | None = None
    key: Callable[..., object] | None = None
    on_failure_call: FailureCall | None = None
    via: Any = None

    def __post_init__(self) -> None:
        """Refuse invalid values, and bring the others into one form."""
        check_queue(self.queue)
        check_number("priority", self.priority, -1000, 1000, whole=True)
        if self.retries is not None:
            checked_retries(self.retries)
        if self.executor is not None:
            check_choice("executor", self.executor, get_args(Executor))
        check_choice("on_crash", self.on_crash, get_args(OnCrash))
        if self.limit is not None:
            check_number("limit", self.limit, 1, 10_000, whole=True)
        if self.rate is not None:
            checked_rate(self.rate)
        if self.on_failure_call is not None:
            check_failure_call(self.on_failure_call)
        self._normalize()
        if self.key is not None and not callable(self.key):
            raise ConfigurationError(
                f"key must be a function of the task's arguments, but it is {safe_repr(self.key)}."
                " Example: @task(limit=1, key=lambda user_id: user_id)."
            )
        if self.key is not None and self.limit is None and self.rate is None:
            raise ConfigurationError(
                "key needs a `limit` or a `rate`, which it counts separately, but there is neither."
                " Example: @task(limit=1, key=lambda user_id: user_id)."
            )

    def _normalize(self) -> None:
        kinds = self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise ConfigurationError(
                "retry_on must be an exception class or a tuple of them, but it is"
                f" {safe_repr(self.retry_on)}. Example: retry_on=(ConnectionError, TimeoutError)."
            )
        values = {
            "backoff": as_backoff(self.backoff),
            "retry_on": kinds,
            "timeout": checked_timeout(self.timeout),
            "tags": checked_tags(self.tags),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def check_for(self, func: Callable[..., Any]) -> None:
        """Refuse a `key` with parameters that the function does not have."""
        if self.key is None:
            return
        known = inspect.signature(func).parameters
        unknown = [name for name in inspect.signature(self.key).parameters if name not in known]
        if unknown:
            raise ConfigurationError(
                f"The parameters of key must be parameters of {func.__qualname__}, but {unknown}"
                f" are not. Choose from {list(known)}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The options of one call, `options(...)`; None leaves an option to the task.

    Args:
        delay: seconds (or a timedelta) to wait before the job may start.
        run_at: the earliest start, an aware datetime.
        queue, priority, retries, timeout: override the task's.
        unique: while a job with this key has not ended, adding another returns that job. Text of
            any length; case counts.
        tags: added to the task's.

    Raises:
        ConfigurationError: an option has an invalid value.
    """

    delay: Any = None
    run_at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    unique: str | None = None
    retries: int | None = None
    timeout: Any = None
    tags: Any = ()

    def __post_init__(self) -> None:
        """Refuse invalid values, and bring the others into one form."""
        if self.queue is not None:
            check_queue(self.queue)
        if self.priority is not None:
            check_number("priority", self.priority, -1000, 1000, whole=True)
        if self.retries is not None:
            checked_retries(self.retries)
        unique: object = self.unique
        if unique is not None and not (isinstance(unique, str) and unique):
            raise ConfigurationError(
                f"unique must be text, but it is {safe_repr(self.unique)}."
                ' Example: unique=f"welcome:{user.id}".'
            )
        if self.delay is not None and self.run_at is not None:
            raise ConfigurationError(
                "delay and run_at exclude each other, but both are given. Leave one out."
            )
        if self.run_at is not None:
            _check_run_at(self.run_at)
        delay = None if self.delay is None else seconds_of(self.delay, "delay")
        object.__setattr__(self, "delay", delay)
        object.__setattr__(self, "timeout", checked_timeout(self.timeout))
        object.__setattr__(self, "tags", checked_tags(self.tags))

    @property
    def start(self) -> float | Delay | None:
        """The earliest start, as the store takes it; None: at once."""
        if self.run_at is not None:
            return min(self.run_at.timestamp(), _LAST_TIME)
        return Delay(self.delay) if self.delay else None

    @property
    def unique_key(self) -> str | None:
        """The key in the form in which the store keeps it."""
        return None if self.unique is None else fixed(self.unique)


class CallOptionsDict(TypedDict, total=False):
    """The keywords of `options(...)`; see `CallOptions`."""

    delay: float | timedelta | None
    run_at: datetime | None
    queue: str | None
    priority: int | None
    unique: str | None
    retries: int | None
    timeout: float | timedelta | None
    tags: Sequence[str]


def fixed(key: str) -> str:
    """Fit a key into 128 characters: a long or unprintable one becomes its SHA-256.

    >>> fixed("welcome:42"), len(fixed("x" * 10_000))
    ('welcome:42', 71)
    """
    plain = len(key) <= _KEY_LENGTH and key.isascii() and key.isprintable()
    if plain and not key.startswith((_HASHED, IDEMPOTENT)):
        return key
    return f"{_HASHED}{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def check_failure_call(func: object) -> None:
    """Refuse a function that cannot be called with (job, error, attempt)."""
    if not callable(func):
        raise ConfigurationError(
            "A function that is called at failures must be a function, but it is"
            f" {safe_repr(func)}.\n{_FAILURE_CALL}"
        )
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # of a builtin, say
        return
    try:
        signature.bind(None, None, 1)
    except TypeError:
        name = getattr(func, "__qualname__", type(func).__qualname__)
        raise ConfigurationError(
            "A function that is called at failures takes (job, error, attempt), but"
            f" {name} takes {signature}.\n{_FAILURE_CALL}"
        ) from None


_FAILURE_CALL = """\
    async def alert(): ...  # incorrect!
    async def alert(job, error, attempt): ...  # correct!"""


def checked_timeout(timeout: object) -> float | None:
    """Return a timeout in seconds, more than 0; None: no limit."""
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not is_number(seconds) or not 0 < seconds <= LONGEST:
        raise ConfigurationError(
            "timeout must be a number of seconds above 0, or a timedelta, but it is"
            f" {safe_repr(timeout)}."
        )
    return float(seconds)


def _check_run_at(at: object) -> None:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ConfigurationError(
            "run_at must be a datetime with a time zone, but it is"
            f" {safe_repr(at)}.\n"
            "    options(run_at=datetime(2030, 1, 1, 9))  # incorrect!\n"
            "    options(run_at=datetime(2030, 1, 1, 9, tzinfo=UTC))  # correct!"
        )
    if at.timestamp() < 0:
        raise ConfigurationError(f"run_at must be from 1970 to 9999, but it is {safe_repr(at)}.")


NO_OPTIONS = CallOptions()


def refuse_options_of_fleets(system: str, name: str, options: "TaskOptions | CallOptions") -> None:
    """Refuse the options that the workers of another system have themselves.

    Raises:
        ConfigurationError: one of them is set.
    """
    for option in _OF_RUNNING:
        default = getattr(_DEFAULTS, option)
        if getattr(options, option, default) != default:
            raise ConfigurationError(
                f"{option} is not possible for {name}, because the workers of {system} run it. Set"
                f" what {system} has for it. Sending it to them is repeated without end."
            )


_DEFAULTS = TaskOptions()
_OF_RUNNING = ("timeout", "retries", "executor", "backoff", "retry_on", "on_crash")
_OF_TASKS = TaskOptionsDict.__annotations__.keys()
_OF_CALLS = CallOptionsDict.__annotations__.keys()


def checked_task_options(options: Mapping[str, Any]) -> TaskOptions:
    """Make the options of `@task(...)` from its keywords.

    Raises:
        ConfigurationError: a keyword is unknown, or has an invalid value.
    """
    require_known(options, _OF_TASKS, TASK_LINE, _OF_CALLS, CALL_LINE)
    return TaskOptions(**options)


def checked_call_options(options: Mapping[str, Any]) -> CallOptions:
    """Make the options of one call from the keywords of `options(...)`; raises as above."""
    require_known(options, _OF_CALLS, CALL_LINE, _OF_TASKS, TASK_LINE)
    return CallOptions(**options)
