"""Celery: tasks, their `delay`, and single signatures; over every transport of kombu.

On RabbitMQ a message counts as sent once the broker has confirmed it. Connection and producer are
our own, because those of the application's pool do not wait for confirms, and may try to connect
for ever.
"""

import functools
import inspect
from collections.abc import Hashable
from typing import Any

from afterword.errors import NotStorable, UnknownTask
from afterword.fleets.remote import (
    ANSWER_WITHIN,
    Args,
    Connection,
    Function,
    Kwargs,
    RemoteTask,
    imported,
    is_a,
    name_of,
    refuse_arguments,
    unbound,
)
from afterword.model.job import JobState

BY_NAME = "celery:"  # begins the name of a task that only the fleet has
_STATES = {
    "SUCCESS": JobState.COMPLETED,
    "FAILURE": JobState.FAILED,
    "REVOKED": JobState.CANCELLED,
    "STARTED": JobState.RUNNING,
    "PROGRESS": JobState.RUNNING,
    "RETRY": JobState.QUEUED,
    "RECEIVED": JobState.QUEUED,
    "PENDING": JobState.QUEUED,  # also said of an unknown task; but this one was sent
}
_WAYS = """\
    background_tasks.add_task(chain(a.s(1), b.s()))  # incorrect!
    background_tasks.add_task(a, 1)  # correct! a task, a.s(1) or a.si(1)"""


def recognise(func: object) -> RemoteTask | None:
    """Return the Celery task behind a task, its `delay` or a single signature.

    Raises:
        NotStorable: a canvas of several tasks, or `apply_async`.
    """
    owner = func.__self__ if inspect.ismethod(func) else func
    if is_a(owner, "celery.app.task", "Task"):
        return CeleryTask(owner) if _is_delay(func, owner) else None
    if is_a(owner, "celery.canvas", "Signature"):
        return _of_signature(owner) if _is_delay(func, owner) else None
    return None


def _is_delay(func: Any, owner: Any) -> bool:
    """Return True for the task (or signature) itself and its `delay`; False: a method of the user.

    Raises:
        NotStorable: another method of Celery's.
    """
    if func is owner or func.__name__ == "delay":
        return True
    own = func.__func__ is getattr(getattr(owner, "run", None), "__func__", None)
    if not own and _is_of_celery(func):
        name = func.__name__
        raise NotStorable(
            f"A Celery task or a signature is added by itself, but this is its method {name}.\n"
            f"    background_tasks.add_task(task.{name}, ...)  # incorrect!\n"
            "    background_tasks.add_task(task, x)  # correct!\n"
            "A delay, a queue or a priority: background_tasks.options(delay=60).add_task(task, x),"
            " or the options of the Celery task."
        )
    return False


def _is_of_celery(method: Any) -> bool:
    known = hasattr(imported("celery.app.task", "Task"), method.__name__)
    return known or method.__func__.__module__.startswith("celery.")


def _of_signature(signature: Any) -> RemoteTask:
    if type(signature) is not imported("celery.canvas", "Signature"):
        kind = type(signature).__name__.strip("_")
        raise NotStorable(
            f"A job must be one task, but this is a {kind} of Celery, which has several.\n{_WAYS}\n"
            f"To send the whole {kind}, write a Celery task that calls its apply_async, and add"
            " that task."
        )
    if options := sorted(name for name, value in signature.options.items() if value is not None):
        raise NotStorable(
            f"A signature that is added must have no options, but this one has {options}: they are"
            " not stored. Set them in @app.task(...), or use background_tasks.options(delay=60)."
        )
    task = imported("celery.app.task", "Task")
    app = _own_app(signature.app)
    found = app.tasks.get(signature["task"])
    if isinstance(found, task):
        return CeleryTask(found, signature)
    return NamedCeleryTask(signature["task"], app, signature)


def named(name: str) -> RemoteTask | None:
    """Return the task of a stored name that only the fleet has.

    Raises:
        UnknownTask: the application has several Celery apps, or none.
    """
    if not name.startswith(BY_NAME):
        return None
    apps = _apps()
    if len(apps) != 1:
        raise UnknownTask(
            f"{name} is sent by its name alone, through the one Celery app of the process, but"
            f" {len(apps)} are imported. Add the task itself instead of a signature."
        )
    return _named(name.removeprefix(BY_NAME), apps[0])


@functools.lru_cache(maxsize=1024)
def _named(task_name: str, app: Any) -> RemoteTask:
    """Return the one object of a name: a worker caches data for each object."""
    return NamedCeleryTask(task_name, app)


def _apps() -> list[Any]:
    """Return the Celery apps of the application, without Celery's fallback if there are others."""
    active = imported("celery._state", "_get_active_apps")
    apps = list(active()) if active else []
    return [app for app in apps if not _is_fallback(app)] or apps


def _is_fallback(app: Any) -> bool:
    """Return True for the app that Celery makes when its current app is first asked for."""
    is_default = app is imported("celery._state", "default_app")
    return is_default and app.main == "default" and not app.set_as_current


def _current(task: Any) -> Any:
    """Return the task behind a proxy.

    A `shared_task` is one of its thread's current app.
    """
    found = _behind(task)
    app = _own_app(found.app)
    return found if app is _behind(found.app) else app.tasks.get(found.name, found)


def _behind(proxy: Any) -> Any:
    """Return the object behind one of Celery's proxies; others as they are."""
    return proxy._get_current_object() if hasattr(proxy, "_get_current_object") else proxy


def _own_app(app: Any) -> Any:
    """Return the application's one app for the fallback.

    That is the current app of every thread but the one that made the app, and has no broker.
    """
    found = _behind(app)
    apps = _apps() if _is_fallback(found) else []
    return apps[0] if len(apps) == 1 else found


class _OfCelery(RemoteTask):
    """A call through a Celery app.

    Args:
        app: the Celery app.
        signature: has arguments of its own; None: the task was added without one.
    """

    system = "Celery"

    def __init__(self, app: Any, signature: Any = None) -> None:
        self.app = app
        self._signature = signature

    @property
    def ignores_results(self) -> bool:
        """True if the fleet keeps no results of this task."""
        return bool(self.app.conf.task_ignore_result)

    @property
    def fleet(self) -> Hashable:
        """The app; one broker belongs to it."""
        return ("celery", id(self.app), self.app.conf.broker_write_url)

    def arguments(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """Merge them with those of the signature, as Celery does: its own come last."""
        given = self._signature
        if given is None:
            return args, kwargs
        if given.immutable:
            return given.args, given.kwargs
        return (*args, *given.args), {**given.kwargs, **kwargs}

    def connect(self) -> Connection:
        """Connect to the app's broker."""
        return CeleryConnection(self.app)

    def is_of_call(self, error: BaseException) -> bool:
        """Return True also for a queue that RabbitMQ has, but with other arguments."""
        of_queue = is_a(error, "amqp.exceptions", "PreconditionFailed")
        return of_queue or is_a(error, "amqp.exceptions", "NotFound") or super().is_of_call(error)

    def ask(self, fleet_id: str) -> JobState | None:
        """Ask the result backend; None without one."""
        if self.ignores_results or type(self.app.backend).__name__ == "DisabledBackend":
            return None  # it would say PENDING for ever
        return _STATES.get(self.app.AsyncResult(fleet_id).state, JobState.RUNNING)


class CeleryTask(_OfCelery):
    """A task that this process has, too.

    Args:
        task: the task, or the proxy that the decorator returns.
    """

    def __init__(self, task: Any, signature: Any = None) -> None:
        self.task = _current(task)
        super().__init__(self.task.app, signature)

    @property
    def ignores_results(self) -> bool:
        """True if the fleet keeps no results of this task."""
        return bool(self.task.ignore_result)

    @property
    def name(self) -> str:
        """The name of its function: the proxy's own module is one of Celery's."""
        return name_of(self.func)

    @property
    def func(self) -> Function:
        """Its `run`, which is bound if the task takes `self`."""
        run: Function = self.task.run
        return run

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Encode them as Celery will; for `pydantic=True`, it makes dicts of models."""
        serializer = self.task.serializer or self.app.conf.task_serializer
        dump = getattr(self.task, "_dump_pydantic_arguments", None)
        if dump is not None and serializer != "pickle":
            args, kwargs = dump(args, kwargs)
        encode(self, serializer, args, kwargs)

    def send(self, args: Args, kwargs: Kwargs, options: dict[str, Any]) -> Any:
        """Publish; by `apply_async`, which Sentry and OpenTelemetry wrap."""
        if self.app.conf.task_always_eager:  # it runs here, and its errors are not those of sending
            options = {**options, "throw": False}
        return self.task.apply_async(args, kwargs, **options)


class NamedCeleryTask(_OfCelery):
    """A task that only the fleet has, known by its name; its arguments are not checked.

    Args:
        task_name: as Celery knows it.
    """

    def __init__(self, task_name: str, app: Any, signature: Any = None) -> None:
        super().__init__(app, signature)
        self._task_name = task_name

    @property
    def name(self) -> str:
        """Its name, marked as one of Celery's."""
        return f"{BY_NAME}{self._task_name}"

    @property
    def func(self) -> Function:
        """Any arguments fit."""
        return unbound

    def check(self, args: Args, kwargs: Kwargs) -> None:
        """Encode them as Celery will."""
        encode(self, self.app.conf.task_serializer, args, kwargs)

    def send(self, args: Args, kwargs: Kwargs, options: dict[str, Any]) -> Any:
        """Publish by name: there is no task whose `apply_async` could do it."""
        return self.app.send_task(self._task_name, args, kwargs, **options)


class CeleryConnection:
    """A connection and a producer of our own."""

    def __init__(self, app: Any) -> None:
        self._connection = app.connection_for_write(
            connect_timeout=ANSWER_WITHIN,
            heartbeat=0,  # no thread would answer it while nothing is sent
            transport_options=_limits(app),
        )
        self._producer = app.amqp.Producer(self._connection)

    def send(self, task: Any, fleet_id: str, args: Args, kwargs: Kwargs) -> None:
        """Publish, and wait for the broker's answer."""
        options = {"task_id": fleet_id, "producer": self._producer, "retry": False}
        result = task.send(args, kwargs, {**options, "confirm_timeout": ANSWER_WITHIN})
        # The Redis backend has subscribed to the result, which nothing here waits for.
        backend = getattr(result, "backend", None)
        if backend is not None and hasattr(backend, "remove_pending_result"):
            backend.remove_pending_result(result)

    def close(self) -> None:
        """Give the connection up, without a word to a broker that may be silent."""
        self._connection.collect(socket_timeout=0.1)


def _limits(app: Any) -> dict[str, Any]:
    """Return the transport options that make a send confirmed and its waits finite."""
    # Of a connection that is not opened. Its URL does not tell: without one it goes to RabbitMQ.
    driver = app.connection_for_write().transport.driver_type
    if driver == "amqp":
        return {"confirm_publish": True, "read_timeout": ANSWER_WITHIN}
    if driver == "redis":
        return {"socket_timeout": ANSWER_WITHIN, "socket_connect_timeout": ANSWER_WITHIN}
    return {}


def encode(task: RemoteTask, serializer: str, args: Args, kwargs: Kwargs) -> None:
    """Encode arguments by the serializer of kombu, to see that it can."""
    dumps = imported("kombu.serialization", "dumps")
    try:
        dumps((args, kwargs, {}), serializer)
    except Exception as error:
        raise refuse_arguments(task, error) from None
