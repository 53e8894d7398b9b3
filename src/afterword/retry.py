"""Delays between the attempts of a task: `@task(backoff=Backoff(...))`."""

from afterword.tasks.retry import Backoff, Delays

__all__ = ["Backoff", "Delays"]
