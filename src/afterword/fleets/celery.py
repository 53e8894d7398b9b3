"""Celery: tasks, their `delay`, and single signatures; over every transport of kombu.

On RabbitMQ a message counts as sent once the broker has confirmed it. Connection and producer are
our own, because those of the application's pool neither confirm nor end an attempt to connect.
"""

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
    if is_a(func, "celery.app.task", "Task"):
        return CeleryTask(func)
    if inspect.ismethod(func) and is_a(func.__self__, "celery.app.task", "Task"):
        return _of_method(func.__name__, func.__self__)
    if is_a(func, "celery.canvas", "Signature"):
        return _of_signature(func)
    return None


def _of_method(name: str, task: Any) -> RemoteTask | None:
    if name == "delay":
        return CeleryTask(task)
    if name in ("apply_async", "apply", "s", "si", "signature", "map", "starmap", "chunks"):
        raise NotStorable(
            f"A Celery task is added by itself, but this is its method {name}.\n"
            f"    background_tasks.add_task(task.{name}, ...)  # incorrect!\n"
            "    background_tasks.add_task(task, x)  # correct!\n"
            "A delay, a queue or a priority: background_tasks.options(delay=60).add_task(task, x),"
            " or the options of the Celery task."
        )
    return None


def _of_signature(signature: Any) -> RemoteTask:
    if type(signature) is not imported("celery.canvas", "Signature"):
        kind = type(signature).__name__.strip("_")
        raise NotStorable(
            f"One job is one task, but this is a {kind} of Celery, which has several.\n{_WAYS}\n"
            f"To send the whole {kind}, write a Celery task that calls its apply_async, and add"
            " that task."
        )
    if options := sorted(name for name, value in signature.options.items() if value is not None):
        raise NotStorable(
            f"A signature that is added must have no options, but this one has {options}: they are"
            " not stored. Set them in @app.task(...), or use background_tasks.options(delay=60)."
        )
    task = imported("celery.app.task", "Task")
    found = signature.app.tasks.get(signature["task"])
    if isinstance(found, task):
        return CeleryTask(found, signature)
    return NamedCeleryTask(signature["task"], signature.app, signature)


def named(name: str) -> RemoteTask | None:
    """Return the task of a stored name that only the fleet has.

    Raises:
        UnknownTask: the application has several Celery apps, or none.
    """
    if not name.startswith(BY_NAME):
        return None
    active = imported("celery._state", "_get_active_apps")
    apps = list(active()) if active else []
    if len(apps) != 1:
        raise UnknownTask(
            f"{name} is sent by its name alone, through the one Celery app of the process, but"
            f" {len(apps)} are imported. Add the task itself instead of a signature."
        )
    return NamedCeleryTask(name.removeprefix(BY_NAME), apps[0])


class _OfCelery(RemoteTask):
    """A call through a Celery app.

    Args:
        app: the Celery app.
        signature: brings arguments of its own; None: the task is added by itself.
    """

    system = "Celery"

    def __init__(self, app: Any, signature: Any = None) -> None:
        self.app = app
        self._signature = signature

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

    def ask(self, fleet_id: str) -> JobState | None:
        """Ask the result backend; None without one."""
        if type(self.app.backend).__name__ == "DisabledBackend":
            return None
        return _STATES.get(self.app.AsyncResult(fleet_id).state, JobState.RUNNING)


class CeleryTask(_OfCelery):
    """A task that this process has, too.

    Args:
        task: the task, or the proxy that the decorator returns.
    """

    def __init__(self, task: Any, signature: Any = None) -> None:
        self.task = task._get_current_object() if hasattr(task, "_get_current_object") else task
        super().__init__(self.task.app, signature)

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
        """Encode them as Celery will."""
        encode(self, self.task.serializer or self.app.conf.task_serializer, args, kwargs)

    def send(self, args: Args, kwargs: Kwargs, options: dict[str, Any]) -> Any:
        """Publish; by `apply_async`, which Sentry and OpenTelemetry wrap."""
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
    url = app.conf.broker_write_url or ""
    url = url if isinstance(url, str) else url[0]
    if url.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": True, "read_timeout": ANSWER_WITHIN}
    if url.startswith(("redis", "rediss", "sentinel", "valkey")):
        return {"socket_timeout": ANSWER_WITHIN, "socket_connect_timeout": ANSWER_WITHIN}
    return {}


def encode(task: RemoteTask, serializer: str, args: Args, kwargs: Kwargs) -> None:
    """Encode arguments by the serializer of kombu, to see that it can."""
    dumps = imported("kombu.serialization", "dumps")
    try:
        dumps((args, kwargs, {}), serializer)
    except Exception as error:
        raise refuse_arguments(task, error) from None
