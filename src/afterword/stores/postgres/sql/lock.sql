-- What people are about to act on stays as it is until they have.
SELECT CAST(id AS text) FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE
