"""Schedules: `recurrence` computes occurrences, `scheduler` turns the due ones into jobs.

`afterword.app` makes a `schedule` of each `every`, and starts the scheduler on the store's thread.
"""
