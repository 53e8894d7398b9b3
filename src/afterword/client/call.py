"""A call becomes a job: named, encoded, and with everything that was said of it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Required, TypedDict

from starlette.datastructures import UploadFile

from afterword.errors import ArgumentError, ConfigurationError, kind_of
from afterword.injection.needs import Injection
from afterword.model.checks import checked_rate
from afterword.model.job import DEFAULTS, Delay, JobOptions, NewJob, new_id
from afterword.tasks.arguments import Plan, plan
from afterword.tasks.options import NO_OPTIONS, CallOptions, TaskOptions, fixed
from afterword.tasks.registry import options_of, reference, require_callable, storable

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a task, as `add_task` was given it, with the options of this call alone."""

    func: Function
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: CallOptions = NO_OPTIONS


class Draft(TypedDict, total=False):
    """The part of a `NewJob` that its call decides: all but its id and its place among others."""

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
    """The job of a call that has no others before it; see `draft`."""
    return NewJob(id=new_id(), **draft(call, injection))


def draft(call: Call, injection: Injection) -> Draft:
    """The part of a job that its call decides.

    Args:
        injection: what the application's functions are given where they run.

    Raises:
        TypeError: not a callable.
        NotStorable, ArgumentError, ArgumentValueError, InjectionError: see `afterword.errors`.
    """
    require_callable(call.func)
    refuse_uploads(call.args, call.kwargs)
    func = injection.unwrap(call.func)
    name = storable(func, injection.unwrap)
    planned = plan(func, injection.of_task(name, func).names)
    arguments = planned.encode(call.args, call.kwargs)
    options, said = options_of(name), call.options
    return Draft(
        task=name,
        arguments=arguments,
        queue=said.queue or options.queue,
        priority=options.priority if said.priority is None else said.priority,
        run_at=said.start,
        tags=(*options.tags, *(tag for tag in said.tags if tag not in options.tags)),
        unique_key=said.unique_key,
        limit_key=_limit_key(name, options, planned, call),
        options=_job_options(options, said),
    )


def unstored_draft(call: Call, injection: Injection) -> Draft:
    """The same for a call that runs in its request.

    Raises:
        TypeError, ArgumentError, InjectionError: what could not be called here either.
    """
    require_callable(call.func)
    refuse_uploads(call.args, call.kwargs)
    func = injection.unwrap(call.func)
    injection.of(func)
    return Draft(task=reference(func), durable=False)


def _job_options(options: TaskOptions, said: CallOptions) -> str | None:
    """What the store has to know, and what was said of this call only."""
    if said is NO_OPTIONS and options.on_crash == DEFAULTS.on_crash and not _is_limited(options):
        return None
    return JobOptions(
        retries=said.retries,
        timeout=said.timeout,
        on_crash=options.on_crash,
        limit=options.limit,
        rate=checked_rate(options.rate) if options.rate else None,
    ).text()


def _is_limited(options: TaskOptions) -> bool:
    return options.limit is not None or options.rate is not None


def _limit_key(name: str, options: TaskOptions, planned: Plan, call: Call) -> str | None:
    if not _is_limited(options):
        return None
    if options.key is None:
        return fixed(name)
    bound = planned.signature.bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    key = options.key(**{each: bound.arguments[each] for each in _asked(options.key)})
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise ConfigurationError(
            f"The key of {name} must give text or a whole number, but it gave one {kind_of(key)}."
        )
    return fixed(f"{name}:{key}")


@functools.lru_cache(maxsize=1024)
def _asked(key: Function) -> tuple[str, ...]:
    """The arguments that a key function names."""
    return tuple(inspect.signature(key).parameters)


def refuse_uploads(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """An UploadFile is closed before any task runs.

    Raises:
        ArgumentError: with the lines that keep the upload.
    """
    if any(isinstance(value, UploadFile) for value in (*args, *kwargs.values())):
        raise ArgumentError(
            "An UploadFile is closed when its request ends, before any task runs."
            " Save it first and pass the path:\n"
            "    path = Path(tempfile.mkstemp()[1]); path.write_bytes(await file.read())\n"
            "    background_tasks.add_task(process, path)"
        )
