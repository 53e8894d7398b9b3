"""Everything Afterword raises, in one tree.

AfterwordError
├── ConfigurationError (ValueError)      an option of Afterword(...) that cannot be
├── NotInstalled (RuntimeError)          BackgroundTasks used without Afterword(app)
├── MissingExtra (ImportError)           an optional part is not installed
├── NotStorable (TypeError)              a call that cannot be written down, with strict=True
├── ArgumentError (TypeError)            arguments that do not fit the task's signature
│   └── InjectedArgumentError            a value for a parameter that is injected
├── InjectionError (TypeError)           a parameter that can never be injected in a worker
│   └── NoContainer                      ... from a framework that this application does not use
├── TaskRequestError (RuntimeError)      in a task, a dependency asked its Request for the request
├── ArgumentValueError (ValueError)      a value that JSON cannot hold (NaN, half a surrogate, ...)
│   └── PayloadTooLarge
├── DuplicateTask (ValueError)           two functions with one name
├── UnknownTask (LookupError)            a stored name that no function of this application has
├── UnknownJob (LookupError)             a job that is not in the store: not yet, or not any more
├── NotStarted (RuntimeError)            a job that no worker of this application would run
├── WouldBlock (RuntimeError)            a call that would block the event loop, or wait for itself
├── NotInTask (RuntimeError)             current_task() where no task is running
├── LostLease (RuntimeError)             complete_in(...) for a job that is somebody else's by now
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
    """An option has a value it cannot have."""


class NotInstalled(AfterwordError, RuntimeError):
    """The application has no `Afterword(app)`."""


class MissingExtra(AfterwordError, ImportError):
    """An optional part is missing; the message has the command that installs it."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f'{what} needs an optional package. Run: pip install "{package}"')
        self.package = package


class NotStorable(AfterwordError, TypeError):
    """A call that cannot be written down, so it could only run in memory."""


class ArgumentError(AfterwordError, TypeError):
    """Arguments that do not fit the task's signature."""


class InjectedArgumentError(ArgumentError):
    """A call passes a value for a parameter that is injected where the task runs."""


class InjectionError(AfterwordError, TypeError):
    """A task asks for something that can never be had in a worker."""


class NoContainer(InjectionError):
    """A task asks a framework for something, and this application does not use the framework."""


class TaskRequestError(AfterwordError, RuntimeError):
    """A dependency asked for a part of the request, and the task runs without one."""


class ArgumentValueError(AfterwordError, ValueError):
    """An argument has the right type and a value that cannot be stored."""


class PayloadTooLarge(ArgumentValueError):
    """The arguments of one job are larger than the limit."""


class DuplicateTask(AfterwordError, ValueError):
    """Two different functions have the same module and name."""


class UnknownTask(AfterwordError, LookupError):
    """No function of this application has this name."""


class UnknownJob(AfterwordError, LookupError):
    """A job's handle was asked for something, and the store does not know the job."""


class NotStarted(AfterwordError, RuntimeError):
    """The lifespan of the application has not run, so its worker would never run this job."""


class WouldBlock(AfterwordError, RuntimeError):
    """A call that would block the event loop, or wait for what cannot happen meanwhile."""


class NotInTask(AfterwordError, RuntimeError):
    """There is no attempt that this code belongs to."""


class LostLease(AfterwordError, RuntimeError):
    """An attempt wanted to complete a job that it had lost; its transaction was rolled back."""


class StoreError(AfterwordError, RuntimeError):
    """The store refused or failed."""


class StoreUnavailable(StoreError):
    """The store cannot take this now; the same call may work later."""


class StoreInterrupted(StoreUnavailable):
    """The connection was lost before anything was written; the same call may be made at once."""


class StoreLocked(StoreUnavailable):
    """Another transaction holds a lock that this call needs; other calls may work at once."""


class StoreRefused(StoreError):
    """The values of this very call can never be stored; the same call fails again."""


class StoreCorrupt(StoreError):
    """The file is damaged, or it is not an Afterword store."""


class SchemaTooNew(StoreError):
    """The store was written by a newer release than this one."""


def is_final(error: BaseException) -> bool:
    """True if the same call would surely fail again: it is its values that cannot be stored."""
    return isinstance(error, StoreRefused | TypeError | ValueError | ArithmeticError)


def safe_repr(value: object) -> str:
    """`repr` of a stranger's object for a message: at most 80 characters, whatever it does."""
    try:
        text = repr(value)
    except Exception:
        return f"<unprintable {type(value).__qualname__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def kind_of(value: object) -> str:
    """What kind of value an argument or a result is, for a message that must not quote it.

    >>> kind_of("s3cret")
    'of the type str'
    """
    return f"of the type {type(value).__qualname__}"
