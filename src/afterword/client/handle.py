"""The handle of a job: `add_task` returns it, and `Afterword.job` finds it.

Its attributes show the job as it was at the last `refresh`, `wait` or `cancel`. Before the first
of these only the id is known. Reading an attribute never asks the store.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic_core import CoreSchema, SchemaSerializer, core_schema

from afterword.client.inquiries import Inquiries
from afterword.errors import (
    ConfigurationError,
    NotInstalled,
    UnknownJob,
    WouldBlock,
    safe_repr,
)
from afterword.model.audit import Actor
from afterword.model.job import JobRecord, JobState
from afterword.model.threads import refuse_event_loop
from afterword.tasks.results import decode_result

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """The progress of a job, as its task reports it.

    Args:
        current: the amount that is done.
        total: the whole amount; None if it is unknown.
        message: the present step.
    """

    current: float = 0
    total: float | None = None
    message: str = ""

    @property
    def ratio(self) -> float | None:
        """The part that is done, from 0 to 1; None without a total.

        >>> ProgressRecord(1, 4).ratio
        0.25
        """
        return min(1.0, self.current / self.total) if self.total else None

    @classmethod
    def read(cls, text: str | None) -> "ProgressRecord | None":
        """Read the text that a store keeps; None if there is none or it is not readable."""
        try:
            values = json.loads(text) if text else None
        except ValueError:
            return None
        if not isinstance(values, dict):
            return None
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})


class AddedIn(Protocol):
    """The request that adds a job, as the job's handle needs it; implemented by `Outbox`."""

    def withholds(self, job_id: str) -> bool:
        """True if called in this request and the job cannot start before the request ends."""

    async def run_unstorable(self) -> None:
        """Run the calls of the request that could not be stored."""


_ANSWER = core_schema.typed_dict_schema(
    {name: core_schema.typed_dict_field(core_schema.str_schema()) for name in ("id", "state")}
)
_SERIALIZATION = core_schema.plain_serializer_function_ser_schema(dict, return_schema=_ANSWER)


class Job(Generic[R]):
    """One job, as it was when the store was last asked.

    Example:
        job = await afterword.add_task(resize, "photo.jpg")
        await job.wait(timeout=10)
        print(job.state, job.result)
    """

    __slots__ = ("_added_in", "_inquiries", "_record", "conflict", "durable", "id", "task")

    def __init__(
        self,
        job_id: str,
        task: str,
        *,
        inquiries: Inquiries | None = None,
        record: JobRecord | None = None,
        durable: bool = True,
        conflict: bool = False,
        added_in: AddedIn | None = None,
    ) -> None:
        self.id = job_id
        self.task = task
        self.durable = durable  # False: it cannot be stored, and runs in its request
        self.conflict = conflict  # its unique key belongs to a job with other arguments
        self._inquiries = inquiries
        self._record = record
        self._added_in = added_in

    def note_stored(self, job_id: str, *, conflict: bool, found: JobRecord | None = None) -> None:
        """Note the stored job: a new one, or the existing one that has the unique key."""
        if found is not None or (self._record is not None and self._record.id != job_id):
            self._record = found
        self.id, self.conflict = job_id, conflict

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.task} {self.state.value}>"

    # ------------------------------------------------------------------ what is known

    @property
    def record(self) -> JobRecord | None:
        """The job's full record; None before the store was asked, or if it has no such job."""
        return self._record

    @property
    def state(self) -> JobState:
        """The state of the job; queued until the store has been asked."""
        return self._record.state if self._record else JobState.QUEUED

    @property
    def attempt(self) -> int:
        """The number of attempts that have started."""
        return self._record.attempt if self._record else 0

    @property
    def error(self) -> str | None:
        """The reason why it failed or was cancelled, or the error of its last attempt, as text."""
        return self._record.error if self._record else None

    @property
    def progress(self) -> ProgressRecord | None:
        """The progress that the task has reported; None if it has reported none."""
        return ProgressRecord.read(self._record.progress) if self._record else None

    @property
    def result(self) -> R | None:
        """The value that the task returned; None before it completed, or if none was kept.

        Raises:
            ValueError: the stored value does not fit the task's return annotation (any more).
        """
        if self._record is None or self._record.result is None:
            return None
        func = self._inquiries.function(self.task) if self._inquiries else None
        value: R = decode_result(func, self._record.result)
        return value

    # ------------------------------------------------------------------ in an answer

    # For a job inside a returned value, where the route's annotation does not name `Job`.
    __pydantic_serializer__ = SchemaSerializer(core_schema.any_schema(serialization=_SERIALIZATION))

    async def __call__(self) -> None:
        """Run as the background task of a response: `Response(background=job)`.

        With FastAPI's class, `background=background_tasks.add_task(...)` works, because `add_task`
        returns None there. Here a stored job runs anyway. A call that cannot be stored runs now,
        after the body.
        """
        if self._added_in is not None:
            await self._added_in.run_unstorable()

    def keys(self) -> tuple[str, ...]:
        """The keys of the JSON that a route returns for a job: its id and its state."""
        return ("id", "state")

    def __getitem__(self, name: str) -> str:
        return {"id": self.id, "state": self.state.value}[name]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: Callable[[Any], CoreSchema]
    ) -> CoreSchema:
        """Serialize a Job as its id and its state, for routes that are annotated with it."""
        return core_schema.is_instance_schema(cls, serialization=_SERIALIZATION)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        serialization: Any = schema["serialization"]
        return handler(serialization["return_schema"])

    # ------------------------------------------------------------------ asking

    async def refresh(self) -> "Job[R]":
        """Update the handle from the store."""
        self._note(await self._asked.record(self.id))
        return self

    def refresh_sync(self) -> "Job[R]":
        """`refresh` for threads and scripts."""
        refuse_event_loop("job.refresh_sync()", "await job.refresh()")
        self._note(self._asked.record_sync(self.id))
        return self

    async def wait(self, timeout: float | None = None) -> "Job[R]":
        """Wait until the job has ended, then refresh the handle.

        Args:
            timeout: seconds. Default: no limit.

        Raises:
            TimeoutError: the job has not ended within `timeout` seconds.
            UnknownJob: the job is not in the store (yet).
            WouldBlock: called in the request that adds the job, which would wait for itself.
        """
        self._refuse_own_request()
        await self._asked.wait_ended([self.id], timeout)
        return (await self.refresh())._known()

    def wait_sync(self, timeout: float | None = None) -> "Job[R]":
        """`wait` for threads and scripts.

        Raises:
            WouldBlock: an event loop runs in this thread, or the request would wait for itself.
        """
        refuse_event_loop("job.wait_sync()", "await job.wait()")
        self._refuse_own_request()
        self._asked.wait_ended_sync([self.id], timeout)
        return self.refresh_sync()._known()

    async def cancel(self, reason: str = "", *, by: str = "") -> bool:
        """Cancel the job: at once if it is queued; a running attempt is asked to end.

        Args:
            reason: it is kept as the job's error.
            by: the name of the person who cancels it, for the audit. Default: not in the audit.

        Returns:
            False if the job had already ended.

        Raises:
            UnknownJob: the job is not in the store (yet).
        """
        done = await self._asked.cancel(self.id, reason or CANCELLED, _actor(by))
        (await self.refresh())._known()
        return done

    def cancel_sync(self, reason: str = "", *, by: str = "") -> bool:
        """`cancel` for threads and scripts."""
        refuse_event_loop("job.cancel_sync()", "await job.cancel()")
        done = self._asked.cancel_sync(self.id, reason or CANCELLED, _actor(by))
        self._note(self._asked.record_sync(self.id))
        self._known()
        return done

    def _refuse_own_request(self) -> None:
        if self._added_in is not None and self._added_in.withholds(self.id):
            raise WouldBlock(
                f"{self!r} starts only after the request that adds it has ended, so waiting for it"
                " in that request would never end.\n"
                "    job = background_tasks.add_task(func); await job.wait()  # incorrect!\n"
                "    job = await afterword.add_task(func); await job.wait()  # correct!"
            )

    def _note(self, record: JobRecord | None) -> None:
        self._record = record or self._record

    def _known(self) -> "Job[R]":
        if self._record is None:
            raise UnknownJob(
                f"The store has no {self!r}. A job of a request is stored when the response starts,"
                " a job of a transaction when that commits. A job that ended long ago is deleted."
            )
        return self

    @property
    def _asked(self) -> Inquiries:
        if self._inquiries is None:
            raise NotInstalled(
                f"{self!r} is not in a store: it cannot be stored, or its application has not been"
                " started. It runs in its request, and its state cannot be looked up."
            )
        return self._inquiries


CANCELLED = "cancelled on request"


def _actor(name: str) -> Actor | None:
    if not isinstance(name, str):
        raise ConfigurationError(f"by must be the name of a user, but it is {safe_repr(name)}.")
    return Actor(name=name, place="application") if name else None
