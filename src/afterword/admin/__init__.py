"""The questions that administrators ask a store, and the changes that they make to jobs.

The command line and the dashboard share them: the same words, the same filters, one implementation.
Nothing here prints or makes pages.
"""
