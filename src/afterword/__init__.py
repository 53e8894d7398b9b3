"""Afterword: background tasks for FastAPI and Starlette that survive the process.

1. `add_task` binds, validates and encodes a call, in the route, where mistakes show at once.
2. The jobs of a request are stored in one transaction before the first byte of its response.
3. If the handler raised, nothing is stored; if storing fails, the client gets a 503.
4. After the response, and after every dependency has closed, the jobs are released.
5. A worker, in this process or another, runs each as an attempt with a rising number.
6. The outcome is stored under a fence: an attempt that has lost its job cannot end it.
7. Finished jobs move to the history; failed ones stop the later jobs of their request.
8. The jobs of a dead process are recovered and run again: at least once, never lost.
"""

from afterword.app import Afterword
from afterword.client.handle import Job
from afterword.errors import AfterwordError, NotStorable
from afterword.model.control import Cancel, Retry
from afterword.model.job import JobRecord, JobState
from afterword.tasks.registry import task
from afterword.worker.context import TaskContext, current_task
from afterword.worker.progress import Progress

__all__ = [
    "Afterword",
    "AfterwordError",
    "Cancel",
    "Job",
    "JobRecord",
    "JobState",
    "NotStorable",
    "Progress",
    "Retry",
    "TaskContext",
    "current_task",
    "task",
]
__version__ = "0.1.0"
