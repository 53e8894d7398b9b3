SELECT job.id FROM afterword.jobs AS job WHERE --where
ORDER BY job.id DESC LIMIT 1 OFFSET :many
