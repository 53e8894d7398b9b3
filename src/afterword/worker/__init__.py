"""From a stored job to its outcome.

`worker` claims jobs, `runner` starts attempts, `executor` runs one attempt, `settlements` stores
its outcome. `context` is the task's view of its attempt; `processes` manages child processes.
`afterword.app` starts a worker. `request` uses it only to offer held jobs.
"""
