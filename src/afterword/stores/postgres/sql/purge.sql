DELETE FROM afterword.history
WHERE id IN (
    SELECT id FROM afterword.history
    WHERE finished_at < now() - CAST(:age AS double precision) * interval '1 second'
    ORDER BY finished_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
RETURNING id
