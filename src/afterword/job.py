"""Jobs as a store keeps them, for code that queries a store or implements one."""

from afterword.model.job import (
    DEFAULTS,
    FINAL_STATES,
    Delay,
    JobOptions,
    JobRecord,
    JobState,
    NewJob,
    new_id,
)

__all__ = [
    "DEFAULTS",
    "FINAL_STATES",
    "Delay",
    "JobOptions",
    "JobRecord",
    "JobState",
    "NewJob",
    "new_id",
]
