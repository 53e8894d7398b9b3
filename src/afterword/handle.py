"""The handle of a job: what `add_task` returns, and `Afterword.job` finds.

It shows what the store knew when it was last asked: when the job was added (nothing but its id), or
at the last `refresh`, `wait` or `cancel`. Looking at it costs nothing, and asking is visible.
"""

import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from afterword.errors import NotInstalled, UnknownJob
from afterword.job import JobRecord, JobState
from afterword.keeper import Keeper
from afterword.results import decode_result

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


class Job(Generic[R]):
    """One job, and what was known of it when it was last asked for.

    Example:
        job = await afterword.add_task(resize, "photo.jpg")
        await job.wait(timeout=10)
        print(job.state, job.result)
    """

    __slots__ = ("_keeper", "_record", "conflict", "durable", "id", "task")

    def __init__(
        self,
        job_id: str,
        task: str,
        *,
        keeper: Keeper | None = None,
        record: JobRecord | None = None,
        durable: bool = True,
        conflict: bool = False,
    ) -> None:
        self.id = job_id
        self.task = task
        self.durable = durable  # False: it could not be stored, and runs in its request
        self.conflict = conflict  # the job with this unique key was there, with other arguments
        self._keeper = keeper
        self._record = record

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
        func = self._keeper.function(self.task) if self._keeper else None
        value: R = decode_result(func, self._record.result)
        return value

    # ------------------------------------------------------------------ asking

    async def refresh(self) -> "Job[R]":
        """Ask the store what it knows now."""
        self._note(await self._asked.record(self.id))
        return self

    def refresh_sync(self) -> "Job[R]":
        """`refresh` for threads and scripts."""
        self._note(self._asked.record_sync(self.id))
        return self

    async def wait(self, timeout: float | None = None) -> "Job[R]":
        """Wait until the job has ended, and know how.

        Args:
            timeout: seconds. Default: as long as it takes.

        Raises:
            TimeoutError: it has not ended by then.
            UnknownJob: it is not in the store (yet), so there is nothing to wait for.
        """
        await self._asked.wait_ended([self.id], timeout)
        return (await self.refresh())._known()

    def wait_sync(self, timeout: float | None = None) -> "Job[R]":
        """`wait` for threads and scripts."""
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
        done = self._asked.cancel_sync(self.id, reason or CANCELLED)
        self.refresh_sync()._known()
        return done

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
    def _asked(self) -> Keeper:
        if self._keeper is None:
            raise NotInstalled(
                f"{self!r} is not in a store: it could not be stored, or its application has not"
                " been started, so that it runs in its request and there is nobody to ask."
            )
        return self._keeper


CANCELLED = "cancelled on request"
