"""Dependency injection for tasks: the needs of a function, and the scope of an attempt.

`needs` finds the injected parameters, `injectors` has one module per framework, `scope` and
`lifecycle` open and close the dependencies of an attempt. `client.call` leaves injected parameters
out of the arguments; `worker.executor` and `request.inline` enter a scope around each attempt.
"""

from typing import Any


class _Injected:
    """The value of a parameter that was to be injected, in a call without Afterword."""

    def __repr__(self) -> str:
        return "INJECTED"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            "A parameter with the default INJECTED is filled when a worker runs the task, but"
            f" {name!r} was read in another call. Pass a value if you call the function yourself."
        )


# A default for injected parameters: a type checker then knows that the caller leaves them out.
INJECTED: Any = _Injected()
