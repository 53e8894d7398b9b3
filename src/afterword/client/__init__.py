"""The way to the store for everything in a process: one thread, many callers.

`group_commit` owns the thread and the connection that writes; `operation` says what it is asked to
do; `aside` keeps what waits for another transaction's lock. `call` and `adder` turn a call into a
job, `handle` and `inquiries` tell callers what became of it, `leases`, `holdings` and `upkeep` keep
what this process holds in order. `request`, `worker` and `schedules` reach the store through here.
"""
