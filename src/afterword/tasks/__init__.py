"""The rules of a task: its name, options and signature, and how its arguments become text.

The functions decide and encode; they do no I/O. `client.call` asks them when a call is added, and
`worker` when it is run.
"""
