"""How a command ends; the same numbers for all of them."""

from enum import IntEnum

from afterword.errors import AfterwordError, ConfigurationError, MissingExtra, StoreError


class ExitCode(IntEnum):
    """The exit status of `afterword`."""

    OK = 0
    FAILED = 1  # it did what it was told, and the answer is no: failed, lost, unhealthy
    USAGE = 2  # the command line, or the installation, has to be changed
    NOT_FOUND = 3  # no such job, queue, ...
    REFUSED = 4  # not in this state
    UNREACHABLE = 5  # the store
    INTERRUPTED = 130  # Ctrl-C; what a shell expects


class NotFound(AfterwordError, LookupError):
    """What the command line named is not there."""


def exit_code_of(error: AfterwordError) -> ExitCode:
    """The status for an error that a command let through."""
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    if isinstance(error, ConfigurationError | MissingExtra):
        return ExitCode.USAGE
    if isinstance(error, StoreError):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED
