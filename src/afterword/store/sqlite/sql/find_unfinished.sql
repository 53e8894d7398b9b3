SELECT * FROM (
    SELECT {shown}, cancelling, NULL, created_at, run_at,
        iif(state = 'running', coalesce(claimed_at, created_at), NULL), NULL, iif(state = 'queued', parked_at, NULL)
    FROM afterword_jobs WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT :limit
)
