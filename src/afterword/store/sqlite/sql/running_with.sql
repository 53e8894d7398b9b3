SELECT count(*) FROM afterword_jobs WHERE state = 'running' AND limit_key = :key
