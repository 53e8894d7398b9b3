"""Fleets: the workers of another system that the application already uses.

A Celery task, a Dramatiq actor, or a function with `task(func, via=...)` is not run by our workers.
Its job is stored like every other. Then a worker hands it over: it sends the job to its fleet,
under an id that the client has, until the broker has confirmed it.

    add_task ──▶ stored ──▶ released ──▶ attempt = one send within 5 s ──▶ handed_over
                                           └─ no answer, an error: tried again, without end

Each system has a module that recognises, checks and sends tasks, and asks for their state
(`RemoteTask`). It does not import the system: it looks for it in `sys.modules`. `sender` has the
thread that sends. `tasks` finds a task by its name, `client` adds its calls, `worker` sends them.
"""
