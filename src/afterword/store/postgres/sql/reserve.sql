-- Until this transaction ends nobody else decides what may run in these queues and with these keys. Who decides already is not
-- waited for: a process that stands still must not make all the others stand still.
SELECT name FROM unnest(CAST(:names AS text[])) AS wanted (name)
WHERE pg_try_advisory_xact_lock(hashtextextended('afterword ' || name, 0))
