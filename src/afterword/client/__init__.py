"""The way to the store for everything in a process: one thread, many callers.

`group_commit` owns the thread and the connection that writes. An `operation` is one request to that
thread; `aside` keeps the operations that wait for another transaction's lock. `call` turns a call
into a job. `handle` and `inquiries` show the state of a job. `leases`, `holdings` and `upkeep`
maintain the jobs that this process holds. `request`, `worker` and `schedules` reach the store
through this package.
"""
