"""The ending of a call in a child process, and exit codes in words."""

import signal
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a call: exactly one of these is not None.

    Args:
        value: what the handler returned.
        died: the reason why the process is gone or never ran the call, in words.
        error: the handler itself failed, or a module could not be imported: a traceback.
    """

    value: dict[str, Any] | None = None
    died: str | None = None
    error: str | None = None


def describe(code: int) -> str:
    """Describe the end of a process by its exit code; that of a signal is negative.

    >>> describe(-11)
    'was killed by SIGSEGV (Segmentation fault)'
    >>> describe(3)
    'ended with exit code 3, as os._exit(3) would do it'
    """
    if code >= 0:
        return f"ended with exit code {code}, as os._exit({code}) would do it"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"was killed by signal {-code}"
    if name == "SIGKILL":
        return "was killed by SIGKILL: perhaps the system had no memory left"
    return f"was killed by {name} ({signal.strsignal(-code)})"
