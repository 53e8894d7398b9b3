"""Functions for RQ, imported by the tests and by its worker."""

from redis import Redis
from rq import get_current_job
from rq.decorators import job

from tests.fleets.celery_site import append


def note(path: str, text: str = "hello") -> str:
    """Note the id under which it runs."""
    current = get_current_job()
    append(path, f"{current.id if current else 'here'} {text}")
    return text


@job("mail", connection=Redis(port=9))
def decorated(path: str) -> None:
    """Do nothing: a plain function that RQ's decorator gives a `delay`."""


def hidden(path: str) -> None:
    """Do nothing: tests know only the path of this function."""
    append(path, "hidden")
