"""A remote task: the interface of a module for another system."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from afterword.errors import ArgumentError, kind_of
from afterword.model.job import JobState
from afterword.model.modules import stable_name

Function = Callable[..., Any]
Args = Sequence[Any]
Kwargs = Mapping[str, Any]
SEND_WITHIN = 5.0  # seconds until a send counts as failed
ANSWER_WITHIN = 2.0  # seconds for one answer of a broker, where its client takes a limit


class Connection(Protocol):
    """A connection to one fleet, used by one thread; such as `CeleryConnection`."""

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Send a call; return once the broker has it. Any error closes the connection."""

    def close(self) -> None:
        """Give the connection up; it may be broken."""


class RemoteTask(ABC):
    """A task that the workers of another system run; such as `CeleryTask`."""

    system: str  # as its users call it: "Celery"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: only its fleet can run it."""
        raise TypeError(f"{self.name} runs in its {self.system} fleet only. Add it: add_task(...).")

    @property
    @abstractmethod
    def name(self) -> str:
        """The name by which jobs refer to it."""

    @property
    @abstractmethod
    def func(self) -> Function:
        """The function whose parameters the arguments must fit."""

    @property
    @abstractmethod
    def fleet(self) -> Hashable:
        """The fleet; tasks of one fleet share a connection."""

    def arguments(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """Return the arguments of a call, with those that the task itself brings."""
        return args, kwargs

    @abstractmethod
    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Refuse arguments that the system cannot encode.

        Raises:
            ArgumentError: one of them cannot be sent.
        """

    @abstractmethod
    def connect(self) -> Connection:
        """Connect to the fleet, in the thread that sends."""

    def is_of_call(self, error: BaseException) -> bool:
        """Return True for an error of one call: the next one may be fine."""
        return isinstance(error, TypeError | ValueError | LookupError | AttributeError)

    @abstractmethod
    def ask(self, fleet_id: str) -> JobState | None:
        """Return the state of a job that was handed over; None if it is unknown."""


def imported(module: str, name: str) -> Any:
    """Return an attribute of a module if the application has imported it, otherwise None."""
    return getattr(sys.modules.get(module), name, None)


def is_a(value: object, module: str, name: str) -> bool:
    """Return True for an instance of a class of a module that the application has imported."""
    kind = imported(module, name)
    return isinstance(kind, type) and isinstance(value, kind)


def name_of(target: Function | str) -> str:
    """Return the name by which jobs refer to a function; a name stays as it is.

    >>> name_of(len), name_of("resize")
    ('builtins:len', 'resize')
    """
    if isinstance(target, str):
        return target
    return f"{stable_name(target.__module__)}:{target.__qualname__}"


def fleet_id(job_id: str, attempt: int, failures: int, lost: int, interrupted: int) -> str:
    """Return the id under which a job is sent: its own, the same in all attempts.

    After a person has retried the job it gets another id, or RQ and arq would refuse it. All
    attempts are counted, but failures only since the last such retry, so the difference changes
    with each retry.

    >>> fleet_id("0190", attempt=3, failures=1, lost=1, interrupted=0)
    '0190'
    >>> fleet_id("0190", attempt=4, failures=0, lost=0, interrupted=0)
    '0190-3'
    """
    before = attempt - 1 - failures - lost - interrupted
    return f"{job_id}-{before}" if before > 0 else job_id


def refuse_arguments(task: RemoteTask, error: BaseException) -> ArgumentError:
    """Return the error for arguments that a system's encoder refuses; it quotes no value."""
    return ArgumentError(
        f"{task.name} was added with arguments that {task.system} cannot encode for its workers"
        f" (an error {kind_of(error)}). Pass text, numbers, lists and dicts, or change the"
        f" serializer of {task.system}."
    )


def unbound(*args: Any, **kwargs: Any) -> None:
    """Replace a function that only the fleet has: every argument fits."""
