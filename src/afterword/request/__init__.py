"""From a request to stored jobs.

`middleware` gives each request an `outbox`, `background` and `bind` collect calls into it, and
`storing` waits for the store. `inline` runs what cannot be stored; `jobs_router` serves the status
of jobs. Only `afterword.app` and the public modules import from here; `worker` never does.
"""
