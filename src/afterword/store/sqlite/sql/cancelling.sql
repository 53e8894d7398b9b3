SELECT id, attempt, cancelling FROM afterword_jobs WHERE worker = :worker AND cancelling IS NOT NULL
