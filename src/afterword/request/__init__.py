"""From a request to stored jobs.

`middleware` gives each request an `outbox`. `background` and `bind` collect calls in it, `storing`
stores them, and `inline` runs the calls that cannot be stored. `jobs_router` serves the status of
jobs. Only `afterword.app` and the public modules import from here; `worker` never does.
"""
