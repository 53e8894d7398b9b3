"""The application's `BackgroundTasks` and `Afterword` as parameters of tasks.

    async def register(email: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(send_welcome, email)

Routes and tasks may share such a function or dependency. In a task, the jobs that it adds are
stored with the completion of the attempt, or not at all: see `TaskContext.add_task`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from afterword.client.call import Call, ScriptTaskAdder
from afterword.client.handle import Job
from afterword.injection.scope import Provided
from afterword.request.background import BackgroundTasks, TasksOfTask
from afterword.request.intake import Intake
from afterword.request.outbox import Entry, Outbox
from afterword.store.protocol import Claim
from afterword.worker.context import BUILTINS, TaskContext, current
from afterword.worker.services import Make, WorkerServices


def builtins_of(intake: Intake, kind: type) -> Mapping[type, Make]:
    """Return the functions that make these values for an attempt, by type.

    Args:
        intake: of the application.
        kind: the class `Afterword`, which imports this module.
    """

    def tasks(context: TaskContext) -> BackgroundTasks:
        return TasksOfTask(_in_order(intake, context), intake.bind)

    return {
        BackgroundTasks: tasks,
        StarletteBackgroundTasks: tasks,
        kind: lambda context: AfterwordOfTask(intake, context),
    }


def _in_order(intake: Intake, context: TaskContext) -> Callable[[Call], Job[Any]]:
    """Return a function that adds jobs as in a request, each to run after the one before."""
    rules = intake.rules
    added: list[str] = []

    def add(call: Call) -> Job[Any]:
        job = context.new_job(call)
        after = added[-1] if added and rules.order == "sequential" else None
        first = added[0] if added else job.id
        placed = replace(job, after=after, on_failure=rules.on_failure, request_id=first)
        context.keep([placed])
        added.append(job.id)
        return Job(job.id, job.task, inquiries=intake.inquiries)

    return add


class AfterwordOfTask(ScriptTaskAdder):
    """The application's Afterword in a task: the jobs that it adds belong to the attempt."""

    def __init__(self, intake: Intake, context: TaskContext) -> None:
        super().__init__(self._keep_async, self._keep)
        self._intake, self._context = intake, context

    def __getattr__(self, name: str) -> Any:
        """Delegate everything but adding to the application's Afterword."""
        return getattr(self._intake.owner, name)

    def _keep(self, call: Call) -> Job[Any]:
        job = self._context.new_job(call)
        self._context.keep([job])
        return Job(job.id, job.task, inquiries=self._intake.inquiries)

    async def _keep_async(self, call: Call) -> Job[Any]:
        return self._keep(call)


@contextlib.contextmanager
def in_request(intake: Intake, kind: type, entry: Entry) -> Iterator[Provided]:
    """Set up the context in which a call that is not stored runs in its request, as in a worker."""
    builtins: dict[type, Make] = {
        **BUILTINS,
        BackgroundTasks: _tasks_of_request,
        StarletteBackgroundTasks: _tasks_of_request,
        kind: lambda _: intake.owner,
    }
    services = WorkerServices(
        injection=intake.injection,
        builtins=builtins,
        inquiries=intake.inquiries,
        now=intake.now,
    )
    context = _InRequest(entry, services, intake.now())
    token = current.set(context)
    try:
        yield context.provided
    finally:
        current.reset(token)


def _tasks_of_request(context: "_InRequest") -> BackgroundTasks:
    return BackgroundTasks.of_request(context.outbox)


class _InRequest(TaskContext):
    """The only attempt at a call that is not stored; jobs that it adds belong to the request."""

    def __init__(self, entry: Entry, services: WorkerServices, started_at: float) -> None:
        job = entry.job
        super().__init__(Claim(job.id, 1, "", job.task, "{}", started_at), services, started_at)
        self.outbox: Outbox = entry.outbox

    def _add_call(self, call: Call) -> Job[Any]:
        return self.outbox.add(call).handle
