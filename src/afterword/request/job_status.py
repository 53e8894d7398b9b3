"""The JSON of a job for clients: no arguments, no function name, no traceback by default."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError, WithJsonSchema

from afterword.client.handle import ProgressRecord
from afterword.model.job import JobRecord, JobState

ShowErrors = Literal["message", "full"]

MESSAGE_LIMIT = 500  # characters of an error's message

Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]


class AcceptedJob(BaseModel):
    """The job that a 202 response refers to."""

    id: Id = Field(description="The id of the job that does the work")
    state: JobState = Field(description="Its last known state")


class JobProblem(BaseModel):
    """Problem details (RFC 9457) of an error, for programs and for people."""

    type: str = Field(
        description="Identifies this kind of problem", examples=["urn:afterword:job-failed"]
    )
    title: str = Field(description="The kind of problem, in words", examples=["The job failed"])
    status: int = Field(description="The HTTP status that goes with it", examples=[410])
    detail: str | None = Field(
        default=None, description="What happened this time", examples=["ValueError: not a picture"]
    )
    state: JobState | None = Field(
        default=None, description="The state of the job, if there is one"
    )


class JobProgress(BaseModel):
    """The progress of a job, as its task reports it."""

    current: int | float = Field(description="How much is done", examples=[3])
    total: int | float | None = Field(description="The whole amount, if it is known", examples=[12])
    message: str = Field(description="The present step", examples=["page 3"])
    ratio: float | None = Field(description="From 0 to 1; null without a total", examples=[0.25])

    @classmethod
    def read(cls, text: str | None) -> "JobProgress | None":
        """Read the text that a store keeps; None if it is not readable."""
        try:
            record = ProgressRecord.read(text)
            if record is None:
                return None
            message = record.message.encode(errors="replace").decode()  # without half a surrogate
            return cls(
                current=record.current, total=record.total, message=message, ratio=record.ratio
            )
        except (ValidationError, TypeError, AttributeError):
            return None


class JobWaiting(BaseModel):
    """The reason why the workers so far could not run a queued job."""

    reason: str = Field(description="Why it waits", examples=["No worker could run it so far."])
    since: datetime = Field(description="When a worker first could not run it")

    @classmethod
    def of(cls, record: JobRecord, show_errors: ShowErrors | None) -> "JobWaiting | None":
        """Describe the wait; the reason itself names functions, so only "full" shows it."""
        if record.parked_at is None:
            return None
        reason = record.error if show_errors == "full" else None
        return cls(reason=reason or "No worker could run it so far.", since=record.parked_at)


class JobStatus(BaseModel):
    """A job as it is now."""

    id: Id = Field(description="The job's id")
    state: JobState = Field(
        description="queued: waits for a worker, or for its time. running: a worker has it."
        " completed, failed, cancelled: has ended;"
        " handed_over: was sent to the fleet of another system, whose workers run it"
    )
    attempt: int = Field(description="The number of attempts that have started", examples=[1])
    cancelling: bool = Field(description="True if it is running and was asked to end")
    progress: JobProgress | None = Field(description="The progress; null if the task reports none")
    error: JobProblem | None = Field(description="Why it failed or was cancelled; null otherwise")
    waiting: JobWaiting | None = Field(
        description="Set while it is queued and the workers that have met it could not run it"
    )
    created_at: datetime = Field(description="When it was stored")
    run_at: datetime = Field(description="It does not start before this time")
    started_at: datetime | None = Field(
        description="When its last attempt started; null while it is queued"
    )
    finished_at: datetime | None = Field(description="When it ended; null until then")

    @classmethod
    def of(cls, record: JobRecord, show_errors: ShowErrors | None) -> "JobStatus":
        """The status of a record, without what clients must not see."""
        return cls(
            id=record.id,
            state=record.state,
            attempt=record.attempt,
            cancelling=record.cancelling is not None,
            progress=JobProgress.read(record.progress),
            error=why_ended(record, show_errors),
            waiting=JobWaiting.of(record, show_errors),
            created_at=record.created_at,
            run_at=record.run_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
        )


UNKNOWN = JobProblem(
    type="urn:afterword:unknown-job",
    title="There is no such job",
    status=404,
    detail="No job has this id, or it ended long ago and was deleted.",
)
UNAVAILABLE = JobProblem(
    type="urn:afterword:unavailable",
    title="The jobs cannot be read now",
    status=503,
    detail="Try again.",
)


_IS = {
    JobState.QUEUED: "is queued",
    JobState.RUNNING: "is running",
    JobState.COMPLETED: "has completed",
    JobState.HANDED_OVER: "was handed over",
    JobState.FAILED: "has failed",
    JobState.CANCELLED: "was cancelled",
}


def not_ended(state: JobState) -> JobProblem:
    """The problem of a request for the result of an unfinished job."""
    return JobProblem(
        type="urn:afterword:job-not-ended",
        title="The job has not ended",
        status=409,
        detail=f"It {_IS[state]}, so there is no result yet. Ask again later.",
        state=state,
    )


def ended(state: JobState) -> JobProblem:
    """The problem of a request to cancel a job that has ended."""
    return JobProblem(
        type="urn:afterword:job-ended",
        title="The job has ended",
        status=409,
        detail=f"It {_IS[state]}, so it cannot be cancelled any more.",
        state=state,
    )


def not_here(record: JobRecord) -> JobProblem | None:
    """The problem of a request for the result of a job that another system runs."""
    if record.state is not JobState.HANDED_OVER:
        return None
    return JobProblem(
        type="urn:afterword:job-handed-over",
        title="The job was handed over",
        status=410,
        detail="The workers of another system run it, so its result is not here.",
        state=record.state,
    )


def why_ended(record: JobRecord, show_errors: ShowErrors | None) -> JobProblem | None:
    """The problem of a job that failed or was cancelled, and so has no result."""
    if record.state not in (JobState.FAILED, JobState.CANCELLED):
        return None
    return JobProblem(
        type=f"urn:afterword:job-{record.state}",
        title="The job failed" if record.state is JobState.FAILED else "The job was cancelled",
        status=410,
        detail=_shown(record.error, show_errors),
        state=record.state,
    )


def _shown(error: str | None, show_errors: ShowErrors | None) -> str | None:
    if error is None or show_errors is None:
        return None
    return error if show_errors == "full" else message_of(error)


def message_of(error: str) -> str:
    """The exception's type and the first line of its message, from the text of a traceback.

    >>> message_of('Traceback (most recent call last):\\n  File "a.py"\\nValueError: no\\nmore')
    'ValueError: no'
    """
    lines = [_GROUP.sub("", line) for line in error.splitlines()]
    cut = next((number for number, line in enumerate(lines) if _CUT.fullmatch(line)), len(lines))
    # The lines of frames are indented. The first line after them that is not has the exception.
    frames = [
        n for n, line in enumerate(lines) if _FRAME.match(line) or (n > cut and line[:1] == " ")
    ]
    behind = lines[frames[-1] + 1 :] if frames else lines
    texts = [line for line in behind if line and not line[0].isspace()] or lines[-1:] or [""]
    return texts[-1 if _CUT.fullmatch(texts[0]) else 0].strip()[:MESSAGE_LIMIT]


_GROUP = re.compile(r"^  [|+] ")  # what the lines of an exception group begin with
_FRAME = re.compile(r'  File "|(Exception Group )?Traceback \(most recent call last\):')
_CUT = re.compile(r"\.\.\. \d+ characters left out \.\.\.")  # by `outcome.truncate`
