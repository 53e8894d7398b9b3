"""The exit statuses, which are the same for all commands."""

from enum import IntEnum

from afterword.admin.ids import NotFound
from afterword.errors import (
    AfterwordError,
    ArgumentError,
    ArgumentValueError,
    ConfigurationError,
    MissingExtra,
    StoreError,
    UnknownTask,
)

_TYPED_WRONG = (ConfigurationError, MissingExtra, ArgumentError, ArgumentValueError)


class ExitCode(IntEnum):
    """The exit status of `afterword`."""

    OK = 0
    FAILED = 1  # the command worked, but the result is negative: failed, lost, unhealthy
    USAGE = 2  # the command line or the installation must be changed
    NOT_FOUND = 3  # no such job, task, schedule, ...
    REFUSED = 4  # the job is not in a suitable state
    UNREACHABLE = 5  # the store cannot be used
    INTERRUPTED = 130  # Ctrl-C, as shells expect it


def exit_code_of(error: AfterwordError) -> ExitCode:
    """Return the status for an error that a command did not handle."""
    if isinstance(error, NotFound | UnknownTask):
        return ExitCode.NOT_FOUND
    if isinstance(error, _TYPED_WRONG):
        return ExitCode.USAGE
    if isinstance(error, StoreError):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED
