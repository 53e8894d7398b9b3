"""Objects of other systems that cannot be handed over; the error says what to write instead.

They are callable, so without this check the body of a task would run in the web process, or a
method would publish from the request, and lose the job if the broker is down.
"""

import inspect
from typing import Any

from afterword.errors import NotStorable
from afterword.fleets.remote import is_a

# Module, class, the system, and the call that adds a task of it.
_OTHERS = (
    ("taskiq.decor", "AsyncTaskiqDecoratedTask", "taskiq", "await task.kiq(...)"),
    ("huey.api", "TaskWrapper", "Huey", "task(...)"),
    ("procrastinate.tasks", "Task", "Procrastinate", "await task.defer_async(...)"),
)
_ACTOR = "add_task(actor, x); for several messages, add an actor that sends them"
# Module, class, the methods that publish, the system, and what is added instead.
_PUBLISHERS = (
    ("celery.app.base", "Celery", "send_task", "Celery", 'add_task(app.signature("name"), x)'),
    ("dramatiq.broker", "Broker", "enqueue", "Dramatiq", _ACTOR),
    ("dramatiq.message", "Message", "", "Dramatiq", _ACTOR),
    ("dramatiq.composition", "group", "", "Dramatiq", _ACTOR),
    ("dramatiq.composition", "pipeline", "", "Dramatiq", _ACTOR),
    ("rq.queue", "Queue", "enqueue", "RQ", "task(func, via=queue); add_task(func, x)"),
    ("arq.connections", "ArqRedis", "enqueue", "arq", 'task("name", via=RedisSettings(...))'),
)


def refuse_others(func: object) -> None:
    """Refuse a task of another system, its methods, and methods that publish.

    Raises:
        NotStorable: the message says how to run the task here, or how to send it from a task.
    """
    method: Any = func
    owner = method.__self__ if inspect.ismethod(func) else func
    for module, kind, system, call in _OTHERS:
        if is_a(owner, module, kind):
            raise NotStorable(
                f"A {system} task cannot be added, because jobs are not handed over to {system}."
                " If our workers should do the work, add the function itself, without the"
                f" decorator of {system}. If its workers should, write a function of your own that"
                f" sends it, and add that: async def send(...): {call}"
            )
    for module, kind, methods, system, instead in _PUBLISHERS:
        if is_a(owner, module, kind) and (owner is func or method.__name__.startswith(methods)):
            raise NotStorable(
                f"A job is a call of one task, but this belongs to a {type(owner).__name__} of"
                f" {system}, which would publish from the request, and lose the job if the broker"
                f" is away. Write instead: {instead}."
            )
