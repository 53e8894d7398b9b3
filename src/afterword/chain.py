"""The jobs that are added one after the other through one binding."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from afterword.handle import Job
from afterword.job import NewJob
from afterword.keeper import Keeper
from afterword.task_options import CallOptions


@dataclass(slots=True, eq=False)
class Chain:
    """The jobs of one binding, each of which follows the one before.

    Args:
        make: the stored form of a call.
        keeper: whom its jobs' handles ask.
        sequential: False makes them independent of each other.
        on_failure: what a failed one does to the later ones.
        announced: its jobs will be announced anyway, by the request.
    """

    make: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], CallOptions], NewJob]
    keeper: Keeper
    sequential: bool
    on_failure: str
    announced: bool = False
    last: str | None = None
    _first: str | None = None

    def next(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        said: CallOptions,
    ) -> NewJob:
        """The job of a call; nothing of the chain has changed yet."""
        job = self.make(func, args, kwargs, said)
        return replace(
            job,
            held=False,
            after=self.last if self.sequential else None,
            on_failure=self.on_failure,
            request_id=job.request_id or self._first or job.id,
        )

    def append(self, job: NewJob) -> Job[Any]:
        """The job has been added."""
        self.last = job.id
        self._first = self._first or job.id
        return Job(job.id, job.task, keeper=self.keeper)

    def forget(self, job: NewJob) -> None:
        """The job was rolled back: the next one follows the one before it."""
        if self.last == job.id:
            self.last = job.after
