SELECT CAST(id AS text), task, CAST(extract(epoch FROM finished_at) AS double precision), right(error, CAST(:tail AS integer))
FROM afterword.history AS job WHERE --where
ORDER BY job.id DESC LIMIT :limit
