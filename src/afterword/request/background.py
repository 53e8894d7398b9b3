"""BackgroundTask and BackgroundTasks: inside a request they add to its outbox.

Outside of a request, and if the application has not been started, they behave like Starlette's.
"""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, overload

from starlette.background import BackgroundTask as StarletteBackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from afterword.client.call import Call, TaskAdder
from afterword.client.handle import Job
from afterword.errors import NotInstalled
from afterword.injection.needs import native
from afterword.model.job import new_id
from afterword.request.bind import AsyncBinding, Binding
from afterword.request.inline import as_background_task, call_plainly
from afterword.request.outbox import Entry, Outbox, open_outbox
from afterword.tasks.options import NO_OPTIONS
from afterword.tasks.registry import is_async, reference, require_callable
from afterword.transactions.connections.kinds import AsyncSession, Awaited, Synchronous

P = ParamSpec("P")

native()(StarletteBackgroundTasks)  # and its subclasses, such as FastAPI's own


class BackgroundTask(StarletteBackgroundTask):
    """A call to make after the response has been sent; pass it to a Response.

    Args:
        func: any callable, `def` or `async def`; a function at the top of a module is durable.
        args, kwargs: its arguments. No keyword is reserved.

    Raises:
        TypeError: `func` is not callable, or the arguments do not fit its signature.

    Example:
        >>> from starlette.responses import PlainTextResponse
        >>> response = PlainTextResponse("ok", background=BackgroundTask(print, "sent"))
    """

    _entry: Entry | None

    def __init__(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        self._set_up(Call(func, args, kwargs))

    def _set_up(self, call: Call) -> None:
        require_callable(call.func)
        _set_call(self, call)
        outbox = open_outbox()
        self._entry = outbox.add(call, confirmed=False) if outbox else None

    async def __call__(self) -> None:
        """Run the call; if it is in an outbox, confirm that it has to run."""
        if self._entry is None:
            await call_plainly(self.func, self.args, self.kwargs)
        else:
            await self._entry.outbox.confirm(self._entry)


@native()
class BackgroundTasks(TaskAdder, BackgroundTask):
    """Calls to make after the response, one after the other, in the order they were added.

    In a FastAPI route, declare a parameter of the type `afterword.fastapi.BackgroundTasks`.

    Args:
        tasks: the first calls. Default: none.

    Example:
        >>> tasks = BackgroundTasks([BackgroundTask(print, "first")])
        >>> job = tasks.add_task(print, "second")
    """

    def __init__(  # as Starlette's: no call of its own
        self, tasks: Sequence[StarletteBackgroundTask] | None = None
    ) -> None:
        self.tasks = list(tasks) if tasks else []
        self._outbox: Outbox | None = None
        self._options = NO_OPTIONS

    @classmethod
    def of_request(cls, outbox: Outbox) -> "BackgroundTasks":
        """The instance that the handler and the dependencies of a request share."""
        tasks = outbox.background_tasks
        if not isinstance(tasks, BackgroundTasks):
            tasks = outbox.background_tasks = cls()
            tasks._outbox = outbox
        return tasks

    def _add_call(self, call: Call) -> Job[Any]:
        if self._outbox is None:
            return self._add_by_hand(call)
        entry = self._outbox.add(call)
        self.tasks.append(_Confirmed(entry))
        return entry.handle

    def _add_by_hand(self, call: Call) -> Job[Any]:
        """Add a call to an instance that the user has created and passes to a Response."""
        task = BackgroundTask.__new__(BackgroundTask)
        task._set_up(call)
        self.tasks.append(task)
        if task._entry:
            return task._entry.handle
        return Job(new_id(), reference(call.func), durable=False)

    @overload
    def bind(self, connection: AsyncSession) -> Binding: ...

    @overload
    def bind(self, connection: Awaited) -> AsyncBinding: ...

    @overload
    def bind(self, connection: Synchronous) -> Binding: ...

    def bind(self, connection: Any) -> Binding | AsyncBinding:
        """Add jobs in a transaction of yours: they exist if and only if it commits.

        Args:
            connection: a session or connection to the store's own database.

        Raises:
            ConfigurationError: this kind of connection is not supported, or it leads to another
                database.

        Example:
            def sign_up(email: str, background_tasks: BackgroundTasks, session: RequestSession):
                session.add(User(email=email))
                background_tasks.bind(session).add_task(send_welcome, email)
                session.commit()  # both, or neither
        """
        outbox = self._outbox or open_outbox()
        if outbox is None:
            raise NotInstalled(
                "BackgroundTasks.bind(...) must be called in a request, but there is none here."
                " Use Afterword.bind(...)."
            )
        return outbox.bind(connection)

    async def __call__(self) -> None:
        """Run the calls in order; those that are in an outbox are confirmed."""
        for task in self.tasks:
            entry: Entry | None = getattr(task, "_entry", None)
            if entry is None or not entry.durable:
                await as_background_task(task.func, task)
            else:
                await task()


class TasksOfTask(BackgroundTasks):
    """The BackgroundTasks of a task: its jobs are stored with the task's completion.

    Args:
        add: adds a call.
        bind: as `Afterword.bind`.
    """

    def __init__(
        self,
        add: Callable[[Call], Job[Any]],
        bind: Callable[[Any], Binding | AsyncBinding],
    ) -> None:
        super().__init__()
        self._add_to_task, self._bind = add, bind

    def _add_call(self, call: Call) -> Job[Any]:
        return self._add_to_task(call)

    def bind(self, connection: Any) -> Any:
        """Add jobs in a transaction of the task; see `BackgroundTasks.bind`."""
        return self._bind(connection)


def _set_call(task: Any, call: Call) -> None:
    """Do the work of Starlette's constructor, which reserves the keyword `func`."""
    task.func, task.args, task.kwargs = call.func, call.args, call.kwargs
    task.is_async = is_async(call.func)


class _Confirmed(StarletteBackgroundTask):
    """An entry of the injected BackgroundTasks, in case these are also passed to a Response."""

    def __init__(self, entry: Entry) -> None:
        _set_call(self, entry.call)
        self._entry = entry

    async def __call__(self) -> None:
        await self._entry.outbox.confirm(self._entry)
