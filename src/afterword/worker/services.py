"""The settings of a worker, and the services that its attempts share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afterword.client.failures import OnFailed
from afterword.client.inquiries import Inquiries
from afterword.injection.needs import Injection
from afterword.model.checks import check_number
from afterword.model.clock import Clock
from afterword.telemetry.tracing import TRACE_WITHIN
from afterword.transactions.statements import Transactions
from afterword.worker.attempt_log import AttemptLog
from afterword.worker.progress import Progress

Make = Callable[[Any], Any]  # makes a value to inject, from the TaskContext of an attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings that the application chose for its worker.

    Args:
        concurrency: attempts at the same time.
        queues: the queues that the worker serves.
        redact: removes secrets from an error's text.
        retries: for tasks that do not set their own; None: no default.
        on_failed: called, in any thread, when a job has failed for good; returns at once.
        retries_at_once: the retries of a job that do not wait; more than 0 in tests only.
        log_lines: how many lines of its log are kept with an attempt; 0: none.
        trace_within: seconds after the job was added in which the span of an attempt is a child of
            the span that added it.
    """

    concurrency: int
    queues: Sequence[str] = ("default",)
    redact: Callable[[str], str] = str
    retries: int | None = None
    on_failed: OnFailed = id
    retries_at_once: int = 0
    log_lines: int = 0
    trace_within: float = TRACE_WITHIN

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        check_number("concurrency", self.concurrency, 1, 10_000, whole=True)
        check_number("log_lines", self.log_lines, 0, 1_000, whole=True)
        check_number("trace_within", self.trace_within, 0, 366 * 24 * 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerServices:
    """Services for the attempts of one worker; the defaults suit a process without a store.

    Args:
        injection: the injection of the application.
        builtins: makers of values that are injected by their type alone.
        transactions: the store's statements for a task's own connection.
        inquiries: answers the handles of added jobs.
        note: called when the progress of an attempt has changed.
        write_now: writes the progress that has not been written yet; blocks.
        now: returns seconds since 1970.
        monotonic: returns seconds that never go back.
        new_log: makes the log of an attempt; None: none is kept.
    """

    injection: Injection = field(default_factory=Injection)
    builtins: Mapping[type, Make] = field(default_factory=dict)
    transactions: Transactions | None = None
    inquiries: Inquiries | None = None
    note: Callable[[Progress], object] = id
    write_now: Callable[[Progress], object] = id
    now: Callable[[], float] = Clock().now
    monotonic: Callable[[], float] = Clock().monotonic
    new_log: Callable[[], AttemptLog] | None = None


class Builtins(Mapping[type, Any]):
    """Values that one attempt injects by type: each made once, when it is first needed."""

    def __init__(self, context: object, makers: Mapping[type, Make]) -> None:
        self._context, self._makers = context, makers
        self._made: dict[Make, Any] = {}  # one maker may serve two types

    def __getitem__(self, kind: type) -> Any:
        make = self._makers[kind]
        if make not in self._made:
            self._made[make] = make(self._context)
        return self._made[make]

    def __iter__(self) -> Iterator[type]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
