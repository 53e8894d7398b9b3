"""The words that everything else is told in: jobs, outcomes, records, clocks.

Values and small tools that need the standard library only. Nothing here reads a file, opens a
connection or starts a thread. Every other room imports from this one.
"""
