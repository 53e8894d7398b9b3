"""The jobs that are added one after the other through one binding."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from afterword.handle import Job
from afterword.job import JobRecord, NewJob
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
    _with_key: dict[str, NewJob] = field(default_factory=dict)

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

    def found(self, job: NewJob) -> Job[Any] | None:
        """The job that has its unique key already: this one is not to be added.

        One that another transaction adds at the same time cannot be seen: the database sees to it
        that there is one job, and this one's handle is of a job that does not exist.
        """
        if job.unique_key is None:
            return None
        known: NewJob | JobRecord | None = self._with_key.get(job.unique_key)
        known = known or self.keeper.with_key(job.unique_key, ended=job.unique_ended)
        if known is None:
            return None
        self.last = known.id
        differs = (known.task, known.arguments) != (job.task, job.arguments)
        return Job(known.id, known.task, keeper=self.keeper, conflict=differs)

    def append(self, job: NewJob) -> Job[Any]:
        """The job has been added."""
        self.last = job.id
        self._first = self._first or job.id
        if job.unique_key is not None:
            self._with_key[job.unique_key] = job
        return Job(job.id, job.task, keeper=self.keeper)

    def forget(self, job: NewJob) -> None:
        """The job was rolled back: the next one follows the one before it."""
        if self.last == job.id:
            self.last = job.after
        self._with_key = {key: each for key, each in self._with_key.items() if each is not job}
