SELECT id FROM afterword_jobs WHERE id = :id AND shared
