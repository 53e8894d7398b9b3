"""Objects of systems that we do not hand over to: refused, with what to write instead.

Otherwise they are callables as any other, and the body of the task would run in the web process.
"""

import inspect

from afterword.errors import NotStorable
from afterword.fleets.remote import is_a

# Module, class, the system, and the call that adds a task of it.
_OTHERS = (
    ("taskiq.decor", "AsyncTaskiqDecoratedTask", "taskiq", "await task.kiq(...)"),
    ("huey.api", "TaskWrapper", "Huey", "task(...)"),
    ("procrastinate.tasks", "Task", "Procrastinate", "await task.defer_async(...)"),
)


def refuse_others(func: object) -> None:
    """Refuse a task of another system, and the methods of one.

    Raises:
        NotStorable: the message says how to run the task here, or how to send it from a task.
    """
    owner = func.__self__ if inspect.ismethod(func) else func
    for module, kind, system, call in _OTHERS:
        if is_a(owner, module, kind):
            raise NotStorable(
                f"A {system} task cannot be added, because jobs are not handed over to {system}."
                " If our workers should do the work, add the function itself, without the"
                f" decorator of {system}. If its workers should, write a function of your own that"
                f" sends it, and add that: async def send(...): {call}"
            )
