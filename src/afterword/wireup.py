"""For Wireup: `TaskContext` and `Progress` as injectables, like `Request` in its integrations.

    import afterword.wireup

    container = wireup.create_async_container(injectables=[services, afterword.wireup])

A scoped service may then take them in its constructor. Parameters of tasks do not need this: there
the annotation is enough.
"""

from typing import NoReturn

from wireup import injectable

from afterword.errors import NotInTask
from afterword.worker.context import TaskContext
from afterword.worker.progress import Progress

__all__ = ["progress", "task_context"]


@injectable(lifetime="scoped")
def task_context() -> TaskContext:
    """The running attempt; the worker provides it in the scope of the attempt.

    Raises:
        NotInTask: the scope is that of a request.
    """
    _refuse("TaskContext")


@injectable(lifetime="scoped")
def progress() -> Progress:
    """The progress of the running attempt; raises as `task_context` does."""
    _refuse("Progress")


def _refuse(what: str) -> NoReturn:
    raise NotInTask(
        f"Wireup can inject {what} only in a task, but this scope does not belong to a"
        " task. Inject it into the task, and pass it on."
    )
