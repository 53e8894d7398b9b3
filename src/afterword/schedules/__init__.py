"""Jobs at times: `recurrence` computes occurrences, `scheduler` turns those that are due into jobs.

`afterword.app` makes a `schedule` of each `every` and starts the scheduler on the store's thread.
"""
