SELECT id FROM afterword_jobs WHERE unique_key = :key
