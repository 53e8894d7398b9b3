"""Fleets: the workers of another system, which the application has already.

A Celery task, a Dramatiq actor, or a function with `task(func, via=...)` is not run by our workers.
Its job is stored like every other; then a worker hands it over: it sends it to its fleet, under an
id that the client knows, until the broker has confirmed it.

    add_task ──▶ stored ──▶ released ──▶ attempt = one send within 5 s ──▶ handed_over
                                           └─ no answer, an error: tried again, without end

A module for each system knows how to recognise, check, send and ask (`RemoteTask`). It imports
nothing: it looks for what the application has imported (`sys.modules`). `sender` has the thread
that sends. `tasks` finds a task by its name, `client` adds its calls, `worker` sends them.
"""
