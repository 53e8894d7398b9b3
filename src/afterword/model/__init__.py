"""The vocabulary of every other room: jobs, outcomes, records, clocks.

Values and small tools that need only the standard library. Nothing here reads a file or opens a
connection. Every other room imports from this one.
"""
