"""A call: how `add_task` takes it, and how it becomes a job.

Jobs are added through a task adder: in a request (`BackgroundTasks`), in a task (`TaskContext`), in
a transaction (`bind`), or anywhere else (`Afterword`). Where storing the job is awaited, it is an
`AsyncTaskAdder`. All of them make a `Call`; `draft` resolves the task's name and encodes the
arguments.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, Required, TypedDict, TypeVar, Unpack, overload

from starlette.datastructures import UploadFile

from afterword.client.handle import Job
from afterword.errors import ArgumentError, ConfigurationError, kind_of
from afterword.fleets.recognition import remote_task
from afterword.fleets.remote import RemoteTask
from afterword.injection.needs import Injection
from afterword.model.checks import checked_rate
from afterword.model.job import DEFAULTS, Delay, JobOptions, NewJob, new_id
from afterword.tasks.arguments import Plan, plan
from afterword.tasks.options import (
    NO_OPTIONS,
    CallOptions,
    CallOptionsDict,
    TaskOptions,
    checked_call_options,
    fixed,
    refuse_options_of_fleets,
)
from afterword.tasks.registry import options_of, reference, require_callable, storable
from afterword.telemetry import listeners, tracing

Function = Callable[..., Any]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a task as passed to `add_task`, with the options of this call."""

    func: Function
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: CallOptions = NO_OPTIONS


class Draft(TypedDict, total=False):
    """The fields of a `NewJob` that follow from its call: all but its predecessor."""

    id: Required[str]
    task: Required[str]
    arguments: str
    queue: str
    priority: int
    run_at: float | Delay | None
    tags: tuple[str, ...]
    unique_key: str | None
    unique_ended: bool
    limit_key: str | None
    options: str | None
    durable: bool


def new_job(call: Call, injection: Injection) -> NewJob:
    """The job of a call, without a predecessor; see `draft`."""
    return NewJob(**draft(call, injection))


def traced(job: NewJob) -> NewJob:
    """A job that was copied from another one, with the context of a span of its own."""
    options = JobOptions.read(job.options)
    trace = tracing.send(job.id, job.task, job.queue)
    if trace == options.trace:
        return job
    return replace(job, options=replace(options, trace=trace).text())


def draft(call: Call, injection: Injection, *, is_sent: bool = True) -> Draft:
    """The fields of a job that follow from its call.

    Args:
        injection: resolves the dependencies of the application's functions.
        is_sent: False for a job that is only copied later (`traced`).

    Raises:
        TypeError: `func` is not callable.
        NotStorable, ArgumentError, ArgumentValueError, InjectionError: see `afterword.errors`.
    """
    require_callable(call.func)
    refuse_uploads(call.args, call.kwargs)
    if remote := remote_task(call.func):
        return _remote_draft(remote, call, is_sent=is_sent)
    func = injection.unwrap(call.func)
    name = storable(func, injection.unwrap)
    planned = plan(func, injection.of_task(name, func).names)
    arguments = planned.encode(call.args, call.kwargs)
    return _draft(name, arguments, planned, call, is_sent=is_sent)


def plan_of(name: str, func: Function, injection: Injection) -> Plan:
    """The plan of the arguments of a task, for our workers or those of another system."""
    if remote := remote_task(func):
        return plan(remote.func)
    inner = injection.unwrap(func)
    return plan(inner, injection.of_task(name, inner).names)


def _remote_draft(remote: RemoteTask, call: Call, *, is_sent: bool) -> Draft:
    """The draft of a call that another system's workers run: its arguments must fit that, too."""
    name = storable(call.func)
    refuse_options_of_fleets(remote.system, name, call.options)
    args, kwargs = remote.arguments(call.args, call.kwargs)
    planned = plan(remote.func)
    arguments = planned.encode(tuple(args), kwargs)
    remote.check(*planned.decode(arguments))
    whole = replace(call, args=tuple(args), kwargs=kwargs)
    drafted = _draft(name, arguments, planned, whole, is_sent=is_sent)
    options = JobOptions.read(drafted["options"])
    if options.on_crash == "retry":
        drafted["options"] = replace(options, on_crash="always").text()
    return drafted


def _draft(name: str, arguments: str, planned: Plan, call: Call, *, is_sent: bool) -> Draft:
    options = options_of(name)
    job_id, queue = new_id(), call.options.queue or options.queue
    drafted = Draft(
        id=job_id,
        task=name,
        arguments=arguments,
        queue=queue,
        priority=options.priority,
        run_at=None,
        tags=options.tags,
        unique_key=None,
        limit_key=_limit_key(name, options, planned, call) if _is_limited(options) else None,
        options=_job_options(
            options,
            call.options,
            tracing.send(job_id, name, queue) if is_sent and listeners.want_spans() else None,
        ),
    )
    return drafted if call.options is NO_OPTIONS else _with_options(drafted, call.options)


def _with_options(drafted: Draft, options: CallOptions) -> Draft:
    """The draft with the options of its call."""
    tags = drafted["tags"]
    return {
        **drafted,
        "priority": drafted["priority"] if options.priority is None else options.priority,
        "run_at": options.start,
        "tags": (*tags, *(tag for tag in options.tags if tag not in tags)),
        "unique_key": options.unique_key,
    }


def unstored_draft(call: Call, injection: Injection) -> Draft:
    """The draft of a call that runs in its request.

    Raises:
        TypeError, ArgumentError, InjectionError: the call cannot run in the request either.
    """
    require_callable(call.func)
    refuse_uploads(call.args, call.kwargs)
    if remote := remote_task(call.func):
        return {**_remote_draft(remote, call, is_sent=False), "durable": False}
    func = injection.unwrap(call.func)
    injection.of(func)
    return Draft(id=new_id(), task=reference(func), durable=False)


def _job_options(
    options: TaskOptions, call_options: CallOptions, trace: Mapping[str, str] | None
) -> str | None:
    """The options that the store needs and those of this call; None if all are defaults."""
    default = call_options is NO_OPTIONS and options.on_crash == DEFAULTS.on_crash
    if default and trace is None and not _is_limited(options):
        return None
    return JobOptions(
        retries=call_options.retries,
        timeout=call_options.timeout,
        on_crash=options.on_crash,
        limit=options.limit,
        rate=checked_rate(options.rate) if options.rate else None,
        trace=trace,
    ).text()


def _is_limited(options: TaskOptions) -> bool:
    return options.limit is not None or options.rate is not None


def _limit_key(name: str, options: TaskOptions, planned: Plan, call: Call) -> str:
    if options.key is None:
        return fixed(name)
    bound = planned.signature.bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    key = options.key(**{each: bound.arguments[each] for each in _asked(options.key)})
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise ConfigurationError(
            f"The key of {name} must return text or a whole number, but it returned one"
            f" {kind_of(key)}."
        )
    return fixed(f"{name}:{key}")


@functools.lru_cache(maxsize=1024)
def _asked(key: Function) -> tuple[str, ...]:
    """The parameters of a key function."""
    return tuple(inspect.signature(key).parameters)


def refuse_uploads(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse an UploadFile: it is closed before any task runs.

    Raises:
        ArgumentError: an argument is an UploadFile; the message shows how to save it first.
    """
    for value in (*args, *kwargs.values()):
        if isinstance(value, UploadFile):
            raise ArgumentError(
                "An UploadFile is closed when its request ends, before any task runs."
                " Save it first and pass the path:\n"
                "    path = Path(tempfile.mkstemp()[1]); path.write_bytes(await file.read())\n"
                "    background_tasks.add_task(process, path)"
            )


# ---------------------------------------------------------------------- task adders


class TaskAdder:
    """Adds calls with these options.

    Args:
        add: collects or stores a call, and returns its job's handle.
        options: of every call that is added.
    """

    def __init__(self, add: Callable[[Call], Job[Any]], options: CallOptions = NO_OPTIONS) -> None:
        self._add = add
        self._options = options

    def _add_call(self, call: Call) -> Job[Any]:
        return self._add(call)

    @overload
    def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def add_task(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...

    def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Add a call.

        Args:
            func: any callable, `def` or `async def`; a function at the top of a module is durable.
            args, kwargs: its arguments. No keyword is reserved.

        Returns:
            The job's handle: its `id`, `durable`, and later its state and result.

        Raises:
            TypeError: `func` is not callable, or the arguments do not fit its signature.
            NotStorable: the call cannot be stored. In a request, a call without options runs
                there instead, unless the application was created with `strict=True`.
            StoreUnavailable: the job had to be stored at once, and the store was unavailable.
        """
        return self._add_call(Call(func, args, kwargs, self._options))

    def options(self, **options: Unpack[CallOptionsDict]) -> "TaskAdder":
        """A task adder whose calls have these options.

        Args:
            options: delay, run_at, queue, priority, unique, retries, timeout, tags; see
                `afterword.tasks.options.CallOptions`.

        Raises:
            ConfigurationError: the value of an option is invalid.

        Example:
            background_tasks.options(delay=60, unique=f"welcome:{to}").add_task(welcome, to)
        """
        return TaskAdder(self._add_call, checked_call_options(options))


class AsyncTaskAdder:
    """Adds calls with these options, where storing a job is awaited.

    Args:
        add: stores a call, and returns its job's handle.
        options: of every call that is added.
    """

    def __init__(
        self, add: Callable[[Call], Awaitable[Job[Any]]], options: CallOptions = NO_OPTIONS
    ) -> None:
        self._add = add
        self._options = options

    @overload
    async def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    async def add_task(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    async def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Store a call; it is durable when this returns.

        If the caller is cancelled while the store is committing, the job is stored and runs.

        Raises:
            NotStorable: the call cannot be stored, and there is no request in which to run it.
            ArgumentError: the arguments do not fit the function.
            StoreUnavailable: the job could not be stored.
        """
        return await self._add(Call(func, args, kwargs, self._options))

    def options(self, **options: Unpack[CallOptionsDict]) -> "AsyncTaskAdder":
        """A task adder whose calls have these options; see `TaskAdder.options`."""
        return AsyncTaskAdder(self._add, checked_call_options(options))


class ScriptTaskAdder(AsyncTaskAdder):
    """An `AsyncTaskAdder` that scripts and threads can use too: `add_task_sync`.

    Args:
        add: stores a call, and returns its job's handle.
        add_sync: the same, blocking.
        options: of every call that is added.
    """

    def __init__(
        self,
        add: Callable[[Call], Awaitable[Job[Any]]],
        add_sync: Callable[[Call], Job[Any]],
        options: CallOptions = NO_OPTIONS,
    ) -> None:
        super().__init__(add, options)
        self._add_sync = add_sync

    def options(self, **options: Unpack[CallOptionsDict]) -> "ScriptTaskAdder":
        """A task adder whose calls have these options; see `TaskAdder.options`.

        Example:
            job = await afterword.options(delay=60, unique="report").add_task(make_report)
        """
        return ScriptTaskAdder(self._add, self._add_sync, checked_call_options(options))

    @overload
    def add_task_sync(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def add_task_sync(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    def add_task_sync(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Store a call, from a thread or a script; blocks until the job is durable.

        Raises:
            WouldBlock: it was called in an event loop, which it would block.
        """
        return self._add_sync(Call(func, args, kwargs, self._options))
