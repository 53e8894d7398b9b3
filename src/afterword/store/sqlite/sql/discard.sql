-- What another request was given stays: it is put back instead.
DELETE FROM afterword_jobs
WHERE id = :id AND attempt = :attempt AND worker = :worker AND fence IS :fence AND NOT shared
RETURNING after
