SELECT job.id FROM afterword.history AS job WHERE --where
ORDER BY job.id DESC LIMIT 1 OFFSET :many
