DELETE FROM afterword_jobs WHERE id = :id AND state = 'queued' RETURNING after
