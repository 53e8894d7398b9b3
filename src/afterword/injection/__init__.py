"""Dependencies of tasks: what a function needs, and the scope in which an attempt gets it.

`needs` finds out what is injected, `injectors` has one module per framework, `scope` and
`lifecycle` open and close what an attempt is given. `client.call` leaves injected parameters out of
the arguments; `worker.executor` and `request.inline` enter a scope around each attempt.
"""
