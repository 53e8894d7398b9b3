"""The background tasks of Starlette under a neutral path; see `afterword.starlette`."""

from afterword.request.background import BackgroundTask, BackgroundTasks

__all__ = ["BackgroundTask", "BackgroundTasks"]
