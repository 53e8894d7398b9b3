SELECT count(*) FROM afterword_jobs WHERE state = 'running' AND queue = :queue
