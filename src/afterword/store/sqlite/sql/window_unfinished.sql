SELECT * FROM (SELECT id FROM afterword_jobs WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT 1 OFFSET :many)
