-- Lock the predecessors of these jobs: a transaction that ends one waits until its followers have moved up, and then finds them.
SELECT CAST(id AS text) FROM afterword.jobs
WHERE id = ANY (ARRAY(SELECT after FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND after IS NOT NULL))
ORDER BY id
FOR KEY SHARE
