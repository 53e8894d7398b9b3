-- A job that another request shares stays: it is released instead.
DELETE FROM afterword_jobs
WHERE id = :id AND attempt = :attempt AND worker = :worker AND fence IS :fence AND NOT shared
RETURNING after
