-- Who is renewing or leaving at this moment holds its row: it is not waited for, but looked at again.
DELETE FROM afterword.workers
WHERE id IN (
    SELECT id FROM afterword.workers WHERE expires_at <= now() OR id = ANY (CAST(:dead AS text[])) FOR UPDATE SKIP LOCKED
)
RETURNING id, retired
