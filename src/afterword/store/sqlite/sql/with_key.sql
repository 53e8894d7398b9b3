SELECT id FROM afterword_jobs WHERE unique_key = :key AND (cancelling IS NULL OR :ended) ORDER BY cancelling IS NOT NULL LIMIT 1
