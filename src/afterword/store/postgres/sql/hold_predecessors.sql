-- Lock these jobs: a transaction that ends one waits until the jobs behind it are there, and then finds them. Ended jobs are skipped.
SELECT id FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR KEY SHARE
