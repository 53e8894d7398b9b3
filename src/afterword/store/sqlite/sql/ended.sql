SELECT 1 FROM afterword_history WHERE id = :id
