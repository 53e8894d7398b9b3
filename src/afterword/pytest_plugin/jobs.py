"""The fixture `jobs`, with which a test looks at its jobs and runs them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from afterword.app import Afterword
from afterword.client.call import plan_of
from afterword.client.handle import Job
from afterword.errors import AfterwordError, WouldBlock
from afterword.model.control import seconds_of
from afterword.model.job import JobRecord
from afterword.model.records import Filter
from afterword.model.threads import refuse_event_loop
from afterword.pytest_plugin.run import PytestRun, require_running
from afterword.request.middleware import require_asyncio
from afterword.store.paging import every
from afterword.tasks.registry import reference, require_callable

MOST = 10_000  # attempts in one call of `run`

T = TypeVar("T")


class Jobs:
    """The jobs of one test, of all its applications. They start only when the test runs them.

    Args:
        run: has the stores.
    """

    def __init__(self, run: PytestRun) -> None:
        self._run = run

    # ------------------------------------------------------------------ looking

    def added(
        self, task: Callable[..., Any] | None = None, /, **arguments: Any
    ) -> Sequence[Job[Any]]:
        """Return the jobs that were added in this test, in any state, the first one first.

        Args:
            task: only jobs that call this function.
            arguments: only jobs with these arguments, by the names of the parameters; a parameter
                that the call left out has its default.

        Raises:
            TypeError: the function has no such parameter, or it is not a function.

        Example:
            assert jobs.added(send_mail, to="ann@example.com")
        """
        if task is not None:
            require_callable(task)
        found: list[Job[Any]] = []
        for afterword in self._asked():
            matches = _matching(afterword, task, arguments)
            wanted = Filter() if task is None else Filter(task=_name(afterword, task))
            store = afterword.inquiries.store_after_writes()
            own = (each for each in every(store, wanted) if each.id not in self._run.left_over)
            found.extend(_handle(afterword, each) for each in own if matches(each))
        return sorted(found, key=lambda job: job.id)

    def _asked(self) -> list[Afterword]:
        """Return the Afterword for queries and for running jobs, for each store."""
        return [group[0] for group in self._run.groups()]

    # ------------------------------------------------------------------ running

    def run(self) -> Sequence[Job[Any]]:
        """Run all jobs that are due, and those that they add, until no job is due.

        They run one after the other. Retries run at once, without their delay, up to a hundred of
        a job. A task that fails does not raise here: its job has the state and the error.

        Returns:
            The jobs that ran, in this order, each once and as it is now.

        Raises:
            WouldBlock: called in an event loop; `await jobs.run_async()` there.
        """
        refuse_event_loop("jobs.run()", "await jobs.run_async()")
        return self._run_here(MOST)

    def run_next(self) -> Job[Any] | None:
        """Run one attempt of the next job that is due; None if there is none."""
        refuse_event_loop("jobs.run_next()", "await jobs.run_next_async()")
        return next(iter(self._run_here(1)), None)

    async def run_async(self) -> Sequence[Job[Any]]:
        """`run` for tests that are `async def`."""
        return await self._run_there(MOST)

    async def run_next_async(self) -> Job[Any] | None:
        """`run_next` for tests that are `async def`."""
        return next(iter(await self._run_there(1)), None)

    def _run_here(self, most: int) -> Sequence[Job[Any]]:
        counted = _Counted(most)
        while counted.go_on():
            for afterword in self._asked():
                counted.add(afterword, _call(afterword, _run_due(afterword, counted.left)))
        return counted.jobs()

    async def _run_there(self, most: int) -> Sequence[Job[Any]]:
        require_asyncio()
        counted = _Counted(most)
        while counted.go_on():
            for afterword in self._asked():
                counted.add(afterword, await _await(afterword, _run_due(afterword, counted.left)))
        return counted.jobs()

    # ------------------------------------------------------------------ time

    def move_time(self, by: float | timedelta) -> None:
        """Move the time of the stores forward: delayed jobs become due, and schedules make jobs.

        Nothing runs yet. Python's own clock stays as it is. Only stores in temporary files have a
        clock that can be moved: with the fixture `afterword_url`, this is refused.

        Args:
            by: seconds, or a timedelta.

        Raises:
            ConfigurationError: it is negative or no duration, or the store's clock cannot be moved.
        """
        self._run.move_time(seconds_of(by, "by"))


class _Counted:
    """The attempts of one call, which must come to an end."""

    def __init__(self, most: int) -> None:
        self.left = self._most = most
        self._ran: dict[str, Afterword] = {}
        self._progress = True

    def go_on(self) -> bool:
        """Return True for another round: the last one ran attempts, and there may be more."""
        if self.left == 0 and self._most == MOST:
            raise AfterwordError(
                f"jobs.run() has run {MOST:,} attempts, and there are still jobs that are due. Does"
                " a task add itself again and again? Run some of them with jobs.run_next()."
            )
        again, self._progress = self._progress and self.left > 0, False
        return again

    def add(self, afterword: Afterword, ids: Sequence[str]) -> None:
        """Note the jobs of attempts that have run."""
        self._progress = self._progress or bool(ids)
        self.left -= len(ids)
        self._ran.update(dict.fromkeys(ids, afterword))

    def jobs(self) -> list[Job[Any]]:
        """Return the jobs that ran, as they are now."""
        records = ((owner, owner.inquiries.record_sync(each)) for each, owner in self._ran.items())
        return [_handle(owner, record) for owner, record in records if record is not None]


# ---------------------------------------------------------------------- in the right event loop


async def _run_due(afterword: Afterword, most: int) -> Sequence[str]:
    """Run due jobs, in a worker that is started for them if the application is not started."""
    if afterword.runtime.serving_loop is not None:
        return await afterword.runtime.run_due(most)
    await afterword.start()
    try:
        return await afterword.runtime.run_due(most)
    finally:
        await afterword.stop()


def _call(afterword: Afterword, work: Coroutine[Any, Any, T]) -> T:
    loop = afterword.runtime.serving_loop
    if loop is None:
        return asyncio.run(work)
    _require_running(loop, work)
    return asyncio.run_coroutine_threadsafe(work, loop).result()


async def _await(afterword: Afterword, work: Coroutine[Any, Any, T]) -> T:
    loop = afterword.runtime.serving_loop
    if loop is None or loop is asyncio.get_running_loop():
        return await work
    _require_running(loop, work)
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def _require_running(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
    try:
        require_running(loop)
    except WouldBlock:
        work.close()
        raise


# ---------------------------------------------------------------------- finding jobs


def _handle(afterword: Afterword, record: JobRecord) -> Job[Any]:
    return Job(record.id, record.task, inquiries=afterword.inquiries, record=record)


def _name(afterword: Afterword, task: Callable[..., Any]) -> str:
    return reference(afterword.injection.unwrap(task))


def _matching(
    afterword: Afterword, task: Callable[..., Any] | None, arguments: dict[str, Any]
) -> Callable[[JobRecord], bool]:
    """Return a function that is True for a job with these arguments."""
    if not arguments:
        return lambda record: True
    if task is None:
        raise TypeError("jobs.added(**arguments) needs the task, too: jobs.added(task, name=value)")
    planned = plan_of(_name(afterword, task), task, afterword.injection)
    signature = planned.signature
    unknown = arguments.keys() - signature.parameters.keys()
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values()):
        raise TypeError(
            f"{_name(afterword, task)}{signature} has no parameter"
            f" {', '.join(sorted(unknown))}, so no job can have been added with it."
        )

    rest = [each.name for each in signature.parameters.values() if each.kind is each.VAR_POSITIONAL]
    # A list for `*args` would never be equal to what the call has, which is a tuple.
    wanted = arguments | {name: tuple(arguments[name]) for name in rest if name in arguments}

    def matches(record: JobRecord) -> bool:
        args, kwargs = planned.decode(record.arguments)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {**kwargs, **bound.arguments}
        return all(name in given and given[name] == value for name, value in wanted.items())

    return matches
