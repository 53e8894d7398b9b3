DELETE FROM afterword_jobs WHERE id = :id
