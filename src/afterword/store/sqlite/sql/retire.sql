UPDATE afterword_workers SET retired = 1 WHERE id = :worker
