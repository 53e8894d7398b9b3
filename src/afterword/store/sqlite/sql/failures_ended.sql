SELECT id, task, finished_at, substr(error, -:tail)
FROM afterword_history WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT :limit
