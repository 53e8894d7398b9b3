"""Functions for RQ, imported by the tests and by its worker."""

from rq import get_current_job

from tests.fleets.celery_site import append


def note(path: str, text: str = "hello") -> str:
    """Note the id under which it runs."""
    job = get_current_job()
    append(path, f"{job.id if job else 'here'} {text}")
    return text


def hidden(path: str) -> None:
    """Only the fleet has it: the tests know its path."""
    append(path, "hidden")
