"""The rules of a task: its name, its options, its signature, and the encoding of its arguments.

The functions decide and encode; they do no I/O. `client.call` uses them when a call is added, and
`worker` when it runs.
"""
