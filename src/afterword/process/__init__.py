"""The operating system's process around an application: signals, supervision, lifespans.

`supervisor` and `watchdog` keep the processes of `afterword worker`, `termination` and `lifeline`
tell a process that it has to end, `lifespan` runs an ASGI application's lifespan. The command line
and `afterword.app` call them.
"""
