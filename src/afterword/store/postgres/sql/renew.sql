UPDATE afterword.workers SET expires_at = now() + CAST(:lease AS double precision) * interval '1 second', lease = :lease WHERE id = :worker
RETURNING id
