SELECT CAST(id AS text) FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND shared ORDER BY id FOR UPDATE
