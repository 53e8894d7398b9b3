DELETE FROM afterword_jobs WHERE id = :id AND attempt = :attempt AND worker = :worker AND fence IS :fence RETURNING after
