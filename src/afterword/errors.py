"""All exceptions of Afterword, in one tree.

AfterwordError
├── ConfigurationError (ValueError)      an option has an invalid value
├── NotInstalled (RuntimeError)          BackgroundTasks used without Afterword(app)
├── MissingExtra (ImportError)           an optional part is not installed
├── NotStorable (TypeError)              a call that cannot be stored, with strict=True
├── ArgumentError (TypeError)            arguments that do not fit the task's signature
│   └── InjectedArgumentError            a value for a parameter that is injected
├── InjectionError (TypeError)           a parameter that can never be injected in a worker
│   └── NoContainer                      its framework is not set up in this application
├── TaskRequestError (RuntimeError)      a dependency of a task used a part of the request
├── ArgumentValueError (ValueError)      a value that JSON cannot hold (NaN, half a surrogate, ...)
│   └── PayloadTooLarge
├── DuplicateTask (ValueError)           two functions with one name
├── UnknownTask (LookupError)            a stored name that no function of this application has
├── UnknownJob (LookupError)             a job that is not in the store (yet, or any more)
├── JobFailed (RuntimeError)             a job failed without an exception of this process
├── NotStarted (RuntimeError)            a job that no worker of this application would run
├── WouldBlock (RuntimeError)            a call that would block the event loop, or wait for itself
├── NotInTask (RuntimeError)             current_task() where no task is running
├── FleetUnavailable (RuntimeError)      another system's broker did not accept a job in time
├── LostLease (RuntimeError)             complete_in(...) for a job that now has another worker
└── StoreError (RuntimeError)
    ├── StoreUnavailable                 busy, full, read-only, gone: the same call may work later
    │   ├── StoreInterrupted             the connection was lost before anything was written
    │   └── StoreLocked                  another transaction holds what this call needs
    ├── StoreRefused                     the values of this call can never be stored
    ├── StoreCorrupt                     the file is damaged, or is no Afterword store
    └── SchemaTooNew                     the store was written by a newer release
"""


class AfterwordError(Exception):
    """The base of every error Afterword raises."""


class ConfigurationError(AfterwordError, ValueError):
    """An option has an invalid value."""


class NotInstalled(AfterwordError, RuntimeError):
    """The application has no `Afterword(app)`."""


class MissingExtra(AfterwordError, ImportError):
    """An optional part is missing; the message has the command that installs it."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f'{what} needs an optional package. Run: pip install "{package}"')
        self.package = package


class NotStorable(AfterwordError, TypeError):
    """A call cannot be stored, so it could only run in memory.

    Args:
        message: may quote the keys of mappings that contain the value.
        logged: the message without these keys, which are arguments. Default: the message.
    """

    def __init__(self, message: str = "", *, logged: str | None = None) -> None:
        super().__init__(message)
        self.logged = message if logged is None else logged


class ArgumentError(AfterwordError, TypeError):
    """Arguments do not fit the task's signature."""


class InjectedArgumentError(ArgumentError):
    """A call passes a value for a parameter that is injected where the task runs."""


class InjectionError(AfterwordError, TypeError):
    """A task has a parameter that can never be injected in a worker."""


class NoContainer(InjectionError):
    """A task needs a framework that is not set up in this application."""


class TaskRequestError(AfterwordError, RuntimeError):
    """A dependency used a part of the request, but a task runs without a request."""


class ArgumentValueError(AfterwordError, ValueError):
    """An argument has the right type, but its value cannot be stored."""


class PayloadTooLarge(ArgumentValueError):
    """The arguments of one job are larger than the limit."""


class DuplicateTask(AfterwordError, ValueError):
    """Two different functions have the same module and name."""


class UnknownTask(AfterwordError, LookupError):
    """No function of this application has this name."""


class UnknownJob(AfterwordError, LookupError):
    """The store does not have the job of this handle."""


class JobFailed(AfterwordError, RuntimeError):
    """A job has failed for good, without an exception of this process; the text is its error."""


class NotStarted(AfterwordError, RuntimeError):
    """The lifespan of the application has not run, so its worker would never run this job."""


class WouldBlock(AfterwordError, RuntimeError):
    """A call would block the event loop, or wait for something that cannot happen meanwhile."""


class NotInTask(AfterwordError, RuntimeError):
    """This code does not run in an attempt of a task."""


class FleetUnavailable(AfterwordError, RuntimeError):
    """The broker of another system's fleet did not answer; the job is handed over later."""


class LostLease(AfterwordError, RuntimeError):
    """An attempt tried to complete a job that it had lost; its transaction was rolled back."""


class StoreError(AfterwordError, RuntimeError):
    """The store refused or failed."""


class StoreUnavailable(StoreError):
    """The store cannot take this now; the same call may work later."""


class StoreInterrupted(StoreUnavailable):
    """The connection was lost before anything was written; the call may be repeated at once."""


class StoreLocked(StoreUnavailable):
    """Another transaction holds a lock that this call needs; other calls may work at once."""


class StoreRefused(StoreError):
    """The values of this call can never be stored; the same call fails again."""


class StoreCorrupt(StoreError):
    """The file is damaged, or it is not an Afterword store."""


class SchemaTooNew(StoreError):
    """The store was written by a newer release than this one."""


def is_final(error: BaseException) -> bool:
    """Return True if the same call is sure to fail again, because its values cannot be stored."""
    return isinstance(error, StoreRefused | TypeError | ValueError | ArithmeticError)


def safe_repr(value: object) -> str:
    """Return the `repr` of any object for a message: at most 80 characters; it never raises."""
    try:
        text = repr(value)
    except Exception:
        return f"<unprintable {type(value).__qualname__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def kind_of(value: object) -> str:
    """Name the type of an argument or result, for a message that must not quote the value.

    >>> kind_of("s3cret")
    'of the type str'
    """
    return f"of the type {type(value).__qualname__}"
