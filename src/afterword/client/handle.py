"""The handle of a job: what `add_task` returns, and `Afterword.job` finds.

It shows what the store knew when it was last asked: when the job was added (nothing but its id), or
at the last `refresh`, `wait` or `cancel`. Looking at it costs nothing, and asking is visible.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic_core import CoreSchema, SchemaSerializer, core_schema

from afterword.client.inquiries import Inquiries
from afterword.errors import NotInstalled, UnknownJob, WouldBlock
from afterword.model.job import JobRecord, JobState
from afterword.model.threads import refuse_event_loop
from afterword.tasks.results import decode_result

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """How far a job has come, by its own account.

    Args:
        current: how much is done. total: of how much, if that is known. message: what is done now.
    """

    current: float = 0
    total: float | None = None
    message: str = ""

    @property
    def ratio(self) -> float | None:
        """From 0 to 1; None without a total.

        >>> ProgressRecord(1, 4).ratio
        0.25
        """
        return min(1.0, self.current / self.total) if self.total else None

    @classmethod
    def read(cls, text: str | None) -> "ProgressRecord | None":
        """As a store keeps it."""
        try:
            said = json.loads(text) if text else None
        except ValueError:
            return None
        if not isinstance(said, dict):
            return None
        return cls(**{name: said[name] for name in cls.__slots__ if name in said})


class AddedIn(Protocol):
    """The request that adds a job, as far as its handle is concerned; `Outbox` is one."""

    def withholds(self, job_id: str) -> bool:
        """True in this very request, as long as the job cannot start because of it."""

    async def run_unstorable(self) -> None:
        """Run the calls of the request that could not be stored."""


_ANSWER = core_schema.typed_dict_schema(
    {name: core_schema.typed_dict_field(core_schema.str_schema()) for name in ("id", "state")}
)
_SERIALIZATION = core_schema.plain_serializer_function_ser_schema(dict, return_schema=_ANSWER)


class Job(Generic[R]):
    """One job, and what was known of it when it was last asked for.

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
        self.durable = durable  # False: it could not be stored, and runs in its request
        self.conflict = conflict  # the job with this unique key was there, with other arguments
        self._inquiries = inquiries
        self._record = record
        self._added_in = added_in

    def note_stored(self, job_id: str, *, conflict: bool, found: JobRecord | None = None) -> None:
        """The store has decided which job it is: this one, or the one that has its unique key."""
        if found is not None or (self._record is not None and self._record.id != job_id):
            self._record = found
        self.id, self.conflict = job_id, conflict

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.task} {self.state.value}>"

    # ------------------------------------------------------------------ what is known

    @property
    def record(self) -> JobRecord | None:
        """All that the store knew of it; None: it has not been asked, or does not know it."""
        return self._record

    @property
    def state(self) -> JobState:
        """Where it is; queued until the store has been asked."""
        return self._record.state if self._record else JobState.QUEUED

    @property
    def attempt(self) -> int:
        """How often it has been started."""
        return self._record.attempt if self._record else 0

    @property
    def error(self) -> str | None:
        """Why it failed or was cancelled, or what its last attempt ended with, as text."""
        return self._record.error if self._record else None

    @property
    def progress(self) -> ProgressRecord | None:
        """How far it has come, if it says so."""
        return ProgressRecord.read(self._record.progress) if self._record else None

    @property
    def result(self) -> R | None:
        """What the task returned; None if it has not completed, or returned nothing that is kept.

        Raises:
            ValueError: what is stored does not fit the return annotation (any more).
        """
        if self._record is None or self._record.result is None:
            return None
        func = self._inquiries.function(self.task) if self._inquiries else None
        value: R = decode_result(func, self._record.result)
        return value

    # ------------------------------------------------------------------ in an answer

    # For a job inside of what a route returns, whose annotation does not tell of it.
    __pydantic_serializer__ = SchemaSerializer(core_schema.any_schema(serialization=_SERIALIZATION))

    async def __call__(self) -> None:
        """Do what Starlette expects of `Response(background=...)`.

        FastAPI's `add_task` returns None, so `background=background_tasks.add_task(...)` is a line
        that works. The job runs by itself; what cannot be stored runs here, after the body.
        """
        if self._added_in is not None:
            await self._added_in.run_unstorable()

    def keys(self) -> tuple[str, ...]:
        """The names of what a route answers that returns the job: its id and its state."""
        return ("id", "state")

    def __getitem__(self, name: str) -> str:
        return {"id": self.id, "state": self.state.value}[name]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: Callable[[Any], CoreSchema]
    ) -> CoreSchema:
        """A route may say that it returns a Job: the answer has its id and its state."""
        return core_schema.is_instance_schema(cls, serialization=_SERIALIZATION)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        serialization: Any = schema["serialization"]
        return handler(serialization["return_schema"])

    # ------------------------------------------------------------------ asking

    async def refresh(self) -> "Job[R]":
        """Ask the store what it knows now."""
        self._note(await self._asked.record(self.id))
        return self

    def refresh_sync(self) -> "Job[R]":
        """`refresh` for threads and scripts."""
        refuse_event_loop("job.refresh_sync()", "await job.refresh()")
        self._note(self._asked.record_sync(self.id))
        return self

    async def wait(self, timeout: float | None = None) -> "Job[R]":
        """Wait until the job has ended, and know how.

        Args:
            timeout: seconds. Default: as long as it takes.

        Raises:
            TimeoutError: it has not ended by then.
            UnknownJob: it is not in the store (yet), so there is nothing to wait for.
            WouldBlock: the request that adds it would wait for itself.
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

    async def cancel(self, reason: str = "") -> bool:
        """End the job: at once if it is queued; if it runs, it is asked, and ends when it has.

        Returns:
            False if it had ended already.

        Raises:
            UnknownJob: it is not in the store (yet), so that it could not be cancelled.
        """
        done = await self._asked.cancel(self.id, reason or CANCELLED)
        (await self.refresh())._known()
        return done

    def cancel_sync(self, reason: str = "") -> bool:
        """`cancel` for threads and scripts."""
        refuse_event_loop("job.cancel_sync()", "await job.cancel()")
        done = self._asked.cancel_sync(self.id, reason or CANCELLED)
        self._note(self._asked.record_sync(self.id))
        self._known()
        return done

    def _refuse_own_request(self) -> None:
        if self._added_in is not None and self._added_in.withholds(self.id):
            raise WouldBlock(
                f"{self!r} starts when the request that adds it is over, so this request would wait"
                " for itself.\n"
                "    job = background_tasks.add_task(func); await job.wait()  # incorrect!\n"
                "    job = await afterword.add_task(func); await job.wait()  # correct!"
            )

    def _note(self, record: JobRecord | None) -> None:
        self._record = record or self._record

    def _known(self) -> "Job[R]":
        if self._record is None:
            raise UnknownJob(
                f"The store does not know {self!r}. A request's job is stored when its answer"
                " starts, a transaction's when that commits; one that ended long ago is not kept."
            )
        return self

    @property
    def _asked(self) -> Inquiries:
        if self._inquiries is None:
            raise NotInstalled(
                f"{self!r} is not in a store: it could not be stored, or its application has not"
                " been started, so that it runs in its request and there is nobody to ask."
            )
        return self._inquiries


CANCELLED = "cancelled on request"
