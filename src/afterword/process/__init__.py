"""The operating system process around an application: signals, supervision, lifespans.

`supervisor` and `watchdog` keep the processes of `afterword worker` running, `termination` and
`lifeline` tell a process to end, `lifespan` runs an ASGI application's lifespan. The command line
and `afterword.app` use them.
"""
