"""The most relevant fact about a job, in a few words."""

from collections.abc import Callable

from afterword.admin.duration import show_span
from afterword.admin.failures import last_line
from afterword.admin.progress import in_words, progress_of
from afterword.admin.words import many
from afterword.model.job import JobRecord, JobState


def note_on(job: JobRecord, now: float, shown_id: Callable[[str], str]) -> str:
    """Describe the most relevant fact about a job in its state.

    Args:
        now: seconds since 1970.
        shown_id: shortens an id.
    """
    if job.state is JobState.RUNNING:
        return how_it_runs(job)
    if job.state is not JobState.QUEUED:
        return last_line(job.error)
    if job.after:
        return f"behind {shown_id(job.after)}"
    if job.parked_at:
        return f"put back: {last_line(job.error)}"
    wait = job.run_at.timestamp() - now
    again = _failures(job)
    if wait > 0:
        return f"{'retrying' if job.attempt else 'starts'} in {show_span(wait)}{again}"
    return f"due for {show_span(-wait)}{again}"


def _failures(job: JobRecord) -> str:
    """Describe the attempts that failed before: how many, and the error of the last one."""
    if not job.failures:
        return ""
    error = f": {last_line(job.error)}" if job.error else ""
    return f" after {many(job.failures, 'failure')}{error}"


def how_it_runs(job: JobRecord) -> str:
    """Describe a running job: a request to end, and its progress; empty if there is neither."""
    asked = "" if job.cancelling is None else f"asked to end ({last_line(job.cancelling)})"
    progress = progress_of(job)
    return ", ".join(filter(None, (asked, in_words(progress) if progress else "")))
