"""For Wireup: `TaskContext` as an injectable, as Wireup's own integrations have `Request`.

    import afterword.wireup

    container = wireup.create_async_container(injectables=[services, afterword.wireup])

A scoped service may then take it in its constructor. Parameters of tasks need none of this: there
the annotation `TaskContext` is enough.
"""

from wireup import injectable

from afterword.context import TaskContext
from afterword.errors import NotInTask

__all__ = ["task_context"]


@injectable(lifetime="scoped")
def task_context() -> TaskContext:
    """The attempt that is running; a worker puts it into the scope.

    Raises:
        NotInTask: the scope is that of a request.
    """
    raise NotInTask("Wireup can inject TaskContext in a task only, and this is none.")
