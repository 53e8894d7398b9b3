"""The error of a task whose process died, for `retry_on=` and the like."""

from afterword.worker.in_process import ProcessDied

__all__ = ["ProcessDied"]
