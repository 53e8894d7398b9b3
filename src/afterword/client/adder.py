"""What adds calls: `add_task(func, *args, **kwargs)`, and `options(...)` for a call with options.

One of these stands wherever jobs are added: in a request (`BackgroundTasks`), in a task
(`TaskContext`), in a transaction (`bind`), anywhere else (`Afterword`). Where the store has to be
awaited it is an `AsyncTaskAdder`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from afterword.client.call import Call
from afterword.client.handle import Job
from afterword.tasks.options import NO_OPTIONS, CallOptions, CallOptionsDict

P = ParamSpec("P")
R = TypeVar("R")


class TaskAdder:
    """Adds calls with these options.

    Args:
        add: collects or stores a call, and returns the handle of its job.
    """

    def __init__(self, add: Callable[[Call], Job[Any]], options: CallOptions = NO_OPTIONS) -> None:
        self._add = add
        self._options = options

    def _add_call(self, call: Call) -> Job[Any]:
        return self._add(call)

    @overload
    def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def add_task(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...

    def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Add a call.

        Args:
            func: any callable, `def` or `async def`; a function at the top of a module is durable.
            args, kwargs: its arguments. No keyword is reserved.

        Returns:
            The job: its `id`, whether it is `durable`, and later what becomes of it.

        Raises:
            TypeError: not a callable, or arguments that do not fit its signature.
            NotStorable: it cannot be stored. In a request, a call without options runs there
                instead, unless the application was set to `strict=True`.
            StoreUnavailable: it had to be stored at once, and could not be.
        """
        return self._add_call(Call(func, args, kwargs, self._options))

    def options(self, **options: Unpack[CallOptionsDict]) -> "TaskAdder":
        """An adder of calls with options of their own.

        Args:
            options: delay, run_at, queue, priority, unique, retries, timeout, tags; see
                `afterword.tasks.options.CallOptions`.

        Raises:
            ConfigurationError, ValueError: an option has a value it cannot have.

        Example:
            background_tasks.options(delay=60, unique=f"welcome:{to}").add_task(welcome, to)
        """
        return TaskAdder(self._add_call, CallOptions(**options))


class AsyncTaskAdder:
    """The same where it has to be awaited that a job is stored.

    Args:
        add: stores a call, and returns the handle of its job.
    """

    def __init__(
        self, add: Callable[[Call], Awaitable[Job[Any]]], options: CallOptions = NO_OPTIONS
    ) -> None:
        self._add = add
        self._options = options

    @overload
    async def add_task(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    async def add_task(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    async def add_task(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Store a call; it is durable when this returns.

        If it is cancelled while the store is committing, the job is stored, and runs.

        Raises:
            NotStorable: there is no request in which it could run instead.
            ArgumentError: the arguments do not fit the function.
            StoreUnavailable: it could not be stored.
        """
        return await self._add(Call(func, args, kwargs, self._options))

    def options(self, **options: Unpack[CallOptionsDict]) -> "AsyncTaskAdder":
        """An adder of calls with options of their own; see `TaskAdder.options`."""
        return AsyncTaskAdder(self._add, CallOptions(**options))


class ScriptTaskAdder(AsyncTaskAdder):
    """One for scripts and threads, too: `add_task_sync`.

    Args:
        add: stores a call, and returns the handle of its job.
        add_sync: does it in a thread.
    """

    def __init__(
        self,
        add: Callable[[Call], Awaitable[Job[Any]]],
        add_sync: Callable[[Call], Job[Any]],
        options: CallOptions = NO_OPTIONS,
    ) -> None:
        super().__init__(add, options)
        self._add_sync = add_sync

    def options(self, **options: Unpack[CallOptionsDict]) -> "ScriptTaskAdder":
        """An adder of calls with options of their own; see `TaskAdder.options`.

        Example:
            job = await afterword.options(delay=60, unique="report").add_task(make_report)
        """
        return ScriptTaskAdder(self._add, self._add_sync, CallOptions(**options))

    @overload
    def add_task_sync(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    @overload
    def add_task_sync(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...

    def add_task_sync(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """`add_task` for threads and scripts; blocks until the job is durable.

        Raises:
            WouldBlock: it was called in an event loop, which it would block.
        """
        return self._add_sync(Call(func, args, kwargs, self._options))
