-- Lock these jobs: a transaction that ends one waits until their followers are added, and then finds them. Ended jobs are skipped.
SELECT id FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR KEY SHARE
