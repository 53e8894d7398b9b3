SELECT * FROM (
    SELECT {shown}, cancelling, NULL, created_at, run_at, NULL, NULL
    FROM afterword_jobs WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT :limit
)
