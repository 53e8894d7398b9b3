"""The error of a task whose process died, for instance for `retry_on=`."""

from afterword.worker.in_process import ProcessDied

__all__ = ["ProcessDied"]
