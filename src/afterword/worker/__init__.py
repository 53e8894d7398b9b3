"""From a stored job to its outcome.

`worker` claims, `runner` starts attempts, `executor` runs one, `settlements` writes how it ended.
`context` is what a task sees of itself; `processes` has the children of a worker. `afterword.app`
starts a worker; `request` knows it only as something that takes held jobs.
"""
