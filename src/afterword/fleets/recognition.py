"""Recognise remote tasks, and the objects of systems that we cannot hand over to."""

import functools
import types

from afterword.errors import ConfigurationError, NotStorable, kind_of
from afterword.fleets import arq, celery, dramatiq, rq
from afterword.fleets.others import refuse_others
from afterword.fleets.remote import Function, RemoteTask

_via: dict[Function, RemoteTask] = {}  # functions with `task(func, via=...)`
_by_name: dict[str, RemoteTask] = {}  # tasks that only the fleet has, with `task("name", via=...)`


def remote_task(func: object) -> RemoteTask | None:
    """Return the remote task behind the argument of `add_task`; None: our workers run it.

    Raises:
        NotStorable: it belongs to another system and cannot be added; the message says what to do.
    """
    if isinstance(func, types.FunctionType):  # the usual case, so it is decided first
        return _via.get(func)
    if isinstance(func, RemoteTask):
        return func
    if isinstance(func, functools.partial):
        _refuse_partial(func)
        return None
    found = celery.recognise(func) or dramatiq.recognise(func)
    if found is None:
        refuse_others(func)
    return found


def _refuse_partial(func: "functools.partial[object]") -> None:
    remote = remote_task(func.func)  # a partial of a partial is one already
    if remote is not None:
        raise NotStorable(
            f"{remote.name} runs in its {remote.system} fleet, to which a partial cannot be sent."
            " Pass the arguments to add_task.\n"
            "    background_tasks.add_task(partial(task, 1))  # incorrect!\n"
            "    background_tasks.add_task(task, 1)  # correct!"
        )


def declare_via(target: Function | str, via: object) -> RemoteTask:
    """Register the function, or the name, of `task(..., via=...)`.

    Raises:
        ConfigurationError: `via` is no queue of RQ and no settings of arq.
    """
    if not isinstance(target, types.FunctionType | str):
        raise ConfigurationError(
            "via= is for functions, and for the names of functions that only a fleet has. A Celery"
            " task or a Dramatiq actor needs none: add it as it is."
        )
    task = rq.via(target, via) or arq.via(target, via)
    if task is None:
        raise ConfigurationError(  # without the value: a URL has a password in it
            "via= must be a queue of RQ, or the RedisSettings or WorkerSettings of arq, but it is"
            f" one {kind_of(via)}.\n"
            '    task(send_email, via=rq.Queue("mail", connection=redis))\n'
            '    task("resize", via=arq.connections.RedisSettings(host="redis"))'
        )
    if isinstance(target, str):
        _by_name[target] = task
    else:
        _via[target] = task
    return task


def belongs_elsewhere(func: object) -> bool:
    """Return True for the task of another system: its body must not run in the web process."""
    try:
        return remote_task(func) is not None or rq.is_delay(func)
    except NotStorable:
        return True


def named_task(name: str) -> RemoteTask | None:
    """Return the remote task of a stored name that is not the name of a function.

    Raises:
        UnknownTask: its system is imported, but cannot tell to which fleet it belongs.
    """
    return _by_name.get(name) or celery.named(name)
