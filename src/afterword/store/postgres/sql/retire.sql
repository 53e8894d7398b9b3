UPDATE afterword.workers SET retired = true WHERE id = :worker
RETURNING id
