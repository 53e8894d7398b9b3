"""Recognise remote tasks, and the objects of systems that we cannot hand over to."""

import types

from afterword.errors import NotStorable
from afterword.fleets import celery
from afterword.fleets.others import refuse_others
from afterword.fleets.remote import Function, RemoteTask

_via: dict[Function, RemoteTask] = {}  # functions with `task(func, via=...)`
_by_name: dict[str, RemoteTask] = {}  # tasks that only the fleet has, with `task("name", via=...)`


def remote_task(func: object) -> RemoteTask | None:
    """Return the remote task behind what is given to `add_task`; None: our workers run it.

    Raises:
        NotStorable: it belongs to another system, and cannot be added; the message has the way.
    """
    if isinstance(func, RemoteTask):
        return func
    found = _via.get(func) if isinstance(func, types.FunctionType) else celery.recognise(func)
    if found is None:
        refuse_others(func)
    return found


def belongs_elsewhere(func: object) -> bool:
    """Return True for the task of another system: its body must not run in the web process."""
    try:
        return remote_task(func) is not None
    except NotStorable:
        return True


def named_task(name: str) -> RemoteTask | None:
    """Return the remote task of a stored name that is not the name of a function.

    Raises:
        UnknownTask: its system is imported, but cannot tell to which fleet it belongs.
    """
    return _by_name.get(name) or celery.named(name)
