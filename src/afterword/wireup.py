"""For Wireup: `TaskContext` and `Progress` as injectables, as its integrations have `Request`.

    import afterword.wireup

    container = wireup.create_async_container(injectables=[services, afterword.wireup])

A scoped service may then take them in its constructor. Parameters of tasks need none of this: there
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
    """The attempt that is running; a worker puts it into the scope.

    Raises:
        NotInTask: the scope is that of a request.
    """
    _refuse("TaskContext")


@injectable(lifetime="scoped")
def progress() -> Progress:
    """How far that attempt has come; errors as of `task_context`."""
    _refuse("Progress")


def _refuse(what: str) -> NoReturn:
    raise NotInTask(f"Wireup can inject {what} in a task only, and this is none.")
