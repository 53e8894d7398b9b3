DELETE FROM afterword_workers WHERE id = :worker
