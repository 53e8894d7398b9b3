"""Why a queued job has not started."""

from afterword.cli.duration import show_instant, show_span
from afterword.cli.failures import last_line
from afterword.job import JobRecord, JobState
from afterword.telemetry import printable


def reasons(job: JobRecord, *, now: float, before: JobRecord | None, served: bool) -> list[str]:
    """Everything a queued job waits for, in the order in which it will stop to matter.

    Args:
        now: seconds since 1970.
        before: the job that it follows, if that is still known.
        served: whether a worker takes jobs from its queue.
    """
    if job.state is not JobState.QUEUED:
        return []
    found = [_behind(job.after, before)] if job.after else []
    if job.run_at.timestamp() > now:
        found.append(_for_its_time(job, now))
    if not served:
        found.append(f"no worker serves the queue {printable(job.queue)}")
    return found or [f"due for {show_span(now - job.run_at.timestamp())}, waits for a free worker"]


def _behind(after: str, before: JobRecord | None) -> str:
    if before is None:
        return f"behind job {printable(after)}"
    return f"behind job {printable(after)} ({printable(before.task)}), which is {before.state}"


def _for_its_time(job: JobRecord, now: float) -> str:
    at = f"{show_instant(job.run_at)}, in {show_span(job.run_at.timestamp() - now)}"
    if job.attempt > 0:
        return f"retrying at {at}, as attempt {job.attempt + 1}"
    if job.error:
        return f"put back until {at}: {printable(last_line(job.error))}"
    return f"scheduled for {at}"
