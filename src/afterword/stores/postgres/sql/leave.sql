DELETE FROM afterword.workers WHERE id = :worker
RETURNING id
