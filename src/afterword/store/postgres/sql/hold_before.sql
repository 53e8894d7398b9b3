-- Lock the predecessors of these jobs: a transaction that ends one waits until its followers have moved up, and then finds them.
-- Jobs that lock.sql locks next are skipped: if two transactions held such a job, neither could get the stronger lock.
SELECT CAST(id AS text) FROM afterword.jobs
WHERE id = ANY (ARRAY(SELECT after FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND after IS NOT NULL))
    AND NOT (id = ANY (CAST(:ids AS uuid[])) AND state = ANY (CAST(:states AS text[])))
ORDER BY id
FOR KEY SHARE
