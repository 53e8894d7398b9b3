"""What a task is given of its application, if it asks for it: `BackgroundTasks` and `Afterword`.

    async def register(email: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(send_welcome, email)

A function, or a dependency, may be used by routes and tasks alike. In a task, what it adds is
stored with the completion of the attempt, or not at all: see `TaskContext.add_task`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from afterword.app import Afterword
from afterword.background import BackgroundTasks, TasksOfTask
from afterword.chain import Chain
from afterword.context import NATIVES, TaskContext, current
from afterword.handle import Job
from afterword.intake import Adding
from afterword.job import NewJob
from afterword.outbox import Entry, Outbox, Stored
from afterword.scope import Provided
from afterword.store import Added, Claim
from afterword.task_options import CallOptions
from afterword.workplace import Make, Workplace


def natives_of(afterword: Afterword) -> Mapping[type, Make]:
    """What makes these for an attempt, by their types."""

    def tasks(context: TaskContext) -> BackgroundTasks:
        return _tasks_of(afterword, context)

    return {
        BackgroundTasks: tasks,
        StarletteBackgroundTasks: tasks,
        Afterword: lambda context: AfterwordOfTask(afterword, context),
    }


def _tasks_of(afterword: Afterword, context: TaskContext) -> BackgroundTasks:
    """In the order of a request's: the next one starts when the one before has ended."""
    rules = afterword.rules
    chain = Chain(
        context.new_job,
        afterword.keeper,
        sequential=rules.order == "sequential",
        on_failure=rules.on_failure,
    )

    def add(
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
    ) -> Job[Any]:
        job = chain.next(func, args, kwargs, said)
        context.keep([job])
        return chain.append(job)

    return TasksOfTask(add, afterword.bind)


class AfterwordOfTask(Afterword):
    """The application's Afterword, but what it adds becomes a task's."""

    def __init__(self, afterword: Afterword, context: TaskContext) -> None:
        self.__dict__.update(vars(afterword))
        self._context = context
        self._adding = Adding(self)

    def new_job(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
    ) -> NewJob:
        """The job of a call."""
        return self._context.new_job(func, args, kwargs, said)

    async def store(
        self,
        jobs: Sequence[NewJob],
        stored_anyway: Callable[[Sequence[Stored]], object] | None = None,
    ) -> Sequence[Stored]:
        """Keep jobs for the end of the attempt."""
        return self.store_blocking(jobs)

    def store_blocking(self, jobs: Sequence[NewJob]) -> Sequence[Stored]:
        """The same for a thread."""
        self._context.keep(jobs)
        return [Stored(Added(job.id, added=True), None) for job in jobs]


@contextlib.contextmanager
def in_request(afterword: Afterword, entry: Entry) -> Iterator[Provided]:
    """Run a call that is not stored, in its request, as if a worker did."""
    natives: dict[type, Make] = {
        **NATIVES,
        BackgroundTasks: _tasks_of_request,
        StarletteBackgroundTasks: _tasks_of_request,
        Afterword: lambda _: afterword,
    }
    place = Workplace(
        injection=afterword.injection,
        natives=natives,
        keeper=afterword.keeper,
        now=afterword.now,
    )
    context = _InRequest(entry, place, afterword.now())
    token = current.set(context)
    try:
        yield context.provided
    finally:
        current.reset(token)


def _tasks_of_request(context: "_InRequest") -> BackgroundTasks:
    return BackgroundTasks.of_request(context.outbox)


class _InRequest(TaskContext):
    """The only attempt at a call that is not stored; what it adds is the request's."""

    def __init__(self, entry: Entry, place: Workplace, started_at: float) -> None:
        job = entry.job
        super().__init__(Claim(job.id, 1, "", job.task, "{}", started_at), place, started_at)
        self.outbox: Outbox = entry.outbox

    def add_child(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        said: CallOptions,
    ) -> Job[Any]:
        """Add it to the request."""
        return self.outbox.add(func, args, dict(kwargs), said, confirmed=True).handle
