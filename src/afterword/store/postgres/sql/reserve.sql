-- Lock these queues and keys until this transaction ends: no other process decides meanwhile which of their jobs may run. A lock that
-- is taken is not waited for: a process that was stopped must not block all the others.
SELECT name FROM unnest(CAST(:names AS text[])) AS wanted (name)
WHERE pg_try_advisory_xact_lock(hashtextextended('afterword ' || name, 0))
