-- Lock the predecessors of these jobs: a transaction that ends one waits until its followers have moved up, and then finds them.
-- Those that lock.sql is about to lock are left to it: two transactions that both held one could not both get it.
SELECT CAST(id AS text) FROM afterword.jobs
WHERE id = ANY (ARRAY(SELECT after FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND after IS NOT NULL))
    AND NOT (id = ANY (CAST(:ids AS uuid[])) AND state = ANY (CAST(:states AS text[])))
ORDER BY id
FOR KEY SHARE
