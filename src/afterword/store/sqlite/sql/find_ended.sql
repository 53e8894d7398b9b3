SELECT * FROM (
    SELECT {shown}, NULL, result, created_at, run_at, started_at, finished_at, NULL
    FROM afterword_history WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT :limit
)
