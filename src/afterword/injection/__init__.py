"""Dependency injection for tasks: the needs of a function, and the scope of an attempt.

`needs` finds the injected parameters, `injectors` has one module per framework, `scope` and
`lifecycle` open and close the dependencies of an attempt. `client.call` leaves injected parameters
out of the arguments; `worker.executor` and `request.inline` enter a scope around each attempt.
"""
